"""Shared by all tests: images made from a seed, and a home that no test shares with the user."""

import functools
import importlib.util
import io
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path


def _keep_compiled_modules():
    """Where Python may not keep them, for the time of the tests: else each process that a test starts compiles torch
    and lightning anew, which takes longer than what it is started for.
    """
    if not sys.dont_write_bytecode or Path(importlib.util.find_spec("torch").cached).is_file():
        return
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = tempfile.mkdtemp(prefix="sr_lightning-compiled-")


# Before torch is imported. The images are so small that further threads take longer than they help.
os.environ.setdefault("OMP_NUM_THREADS", "1")
_keep_compiled_modules()

import pytest  # noqa: E402 (after the prefix is set)

# Before they are imported.
pytest.register_assert_rewrite(
    "helpers.faulty_runs", "helpers.hostile_files", "helpers.packed_sets", "helpers.published_networks"
)
from PIL import Image  # noqa: E402 (as above)

from helpers.images import make_image  # noqa: E402 (as above)


def pytest_sessionfinish():
    """Takes away what `_keep_compiled_modules` has kept, once all processes of the tests are done."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    if sys.pycache_prefix and Path(sys.pycache_prefix).name.startswith("sr_lightning-compiled-"):
        shutil.rmtree(sys.pycache_prefix, ignore_errors=True)


SR_DATA = os.environ.get("SR_DATA") and str(Path(os.environ["SR_DATA"]).absolute())


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path, monkeypatch):
    """Runs, caches and W&B go to the test's folder; nothing is read from the user's environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SR_DATA", raising=False)
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture
def image():
    """The maker of images."""
    return make_image


@pytest.fixture
def folder(tmp_path):
    """Six images of different sizes, as PNG."""
    path = tmp_path / "pictures"
    path.mkdir()
    for i, content in enumerate(_six_images()):
        (path / f"img_{i}.png").write_bytes(content)
    return path


@functools.cache
def _six_images():
    sizes = [(96, 112), (101, 97), (120, 96), (99, 130), (96, 96), (110, 103)]
    files = [io.BytesIO() for _ in sizes]
    for i, (file, (height, width)) in enumerate(zip(files, sizes, strict=True)):
        Image.fromarray(make_image(height, width, i)).save(file, "PNG")
    return [file.getvalue() for file in files]


@pytest.fixture
def sr_data():
    """The classic data sets, where they are at hand."""
    if not SR_DATA or not Path(SR_DATA, "test", "Set5").is_dir():
        pytest.skip("needs the classic data sets (set SR_DATA)")
    return Path(SR_DATA)


@pytest.fixture
def device():
    """The GPU. `SR_TEST_DEVICE=cpu pytest -m gpu` tries the same tests without one."""
    import torch

    chosen = os.environ.get("SR_TEST_DEVICE") or ("cuda" if torch.cuda.is_available() else None)
    if chosen is None:
        pytest.skip("needs a GPU (SR_TEST_DEVICE=cpu tries the test without one)")
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield torch.device(chosen, 0) if chosen == "cuda" else torch.device(chosen)
    torch.use_deterministic_algorithms(deterministic)  # which a Trainer sets for the process
    if chosen == "cuda":
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@pytest.fixture
def on_device(tiny, device):
    """Arguments of a small run on the device of the tests marked `gpu`."""
    accelerator = "gpu" if device.type == "cuda" else "cpu"
    return [*(argument for argument in tiny if argument != "trainer=cpu"), f"trainer.accelerator={accelerator}"]


@pytest.fixture
def tiny(folder):
    """Arguments of a small run."""
    return [
        "data=folder",
        f"data.train_dir={folder}",
        "data.val_holdout=2",
        "data.batch_size=2",
        "data.patch_size=12",
        "model.n_feats=4",
        "model.n_resblocks=1",
        "trainer=cpu",
        "trainer.precision=32",
        "trainer.max_steps=4",
        "trainer.val_check_interval=2",
        "trainer.log_every_n_steps=1",
        "logger=csv",
    ]


@pytest.fixture(autouse=True)
def _hydras_logging():
    """Hydra sets the root logger's handlers; they are closed and taken away.

    A file handler that stayed would open its file again at the next message, in a folder of a test that is over.
    """
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(before):
        handler.close()
    root.handlers[:] = [handler for handler in before if not isinstance(handler, logging.FileHandler)]
    root.setLevel(level)
