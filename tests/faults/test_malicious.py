"""Files that would run something, given to every entry: refused, and nothing is executed (S1)."""

import pickle
import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.hostile_files import PLACES, Evil, bare, legacy, run_of, tarred, zipped
from helpers.metric_weights import place
from sr_lightning.builders.methods import build_methods
from sr_lightning.errors import UserError
from sr_lightning.evaluate import main as evaluate
from sr_lightning.image.decoder import decode
from sr_lightning.losses import LPIPSLoss
from sr_lightning.metrics.backbones import VGGFeatures
from sr_lightning.metrics.quality import build_metrics
from sr_lightning.preview import main as preview
from sr_lightning.train import main
from sr_lightning.train import main as train

pytestmark = pytest.mark.usefixtures("_hydras_logging")
WRITERS = {"zip": zipped, "legacy": legacy, "bare": bare, "tar": tarred}
TYPED = {"_target_": "sr_lightning.models.EDSR", "scale": 4, "n_feats": 4, "n_resblocks": 1}
ENTRIES = {
    "checkpoint": lambda path: {"checkpoint": {path: ""}, "model": None},
    "checkpoint and model": lambda path: {"checkpoint": {path: "name"}, "model": TYPED},
    "model.weights": lambda path: {"checkpoint": {}, "model": TYPED | {"weights": path}},
}


@pytest.fixture(params=[False, True], ids=["", "forced"])
def forced(request, monkeypatch):
    """Whether the environment asks torch to execute what it loads."""
    if request.param:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")


@pytest.mark.fault("S1", "refused by name, nothing is executed")
@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("write", WRITERS)
def test_S1_what_an_evaluation_is_given(tmp_path, forced, write, entry):
    WRITERS[write](PLACES["state_dict"](), tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match=r"evil\.ckpt.*cannot be read as"):
        build_methods(SimpleNamespace(**ENTRIES[entry](str(tmp_path / "evil.ckpt")), scale=[4]))
    assert not (tmp_path / "canary").exists()


@pytest.mark.fault("S1", "status 2, nothing is executed")
@pytest.mark.parametrize("command", ["evaluate", "preview"])
def test_S1_what_a_command_is_given(tmp_path, folder, tiny, forced, capsys, command):
    zipped(PLACES["beside"](), tmp_path / "evil.ckpt")
    if command == "evaluate":
        arguments = [f"checkpoint={tmp_path}/evil.ckpt", "accelerator=cpu", f"+data.test.Mine={folder}", "sets=[Mine]"]
        assert evaluate(arguments) == 2
    else:  # which loads no weights at all
        assert preview([*tiny, f"model.weights={tmp_path}/evil.ckpt"]) == 0
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert not (tmp_path / "canary").exists()


@pytest.mark.fault("S1", "refused, nothing is executed")
def test_S1_an_archive_of_arrays(tmp_path, monkeypatch, forced):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    hub = tmp_path / "hub/checkpoints"
    hub.mkdir(parents=True)
    np.savez(tmp_path / "evil.npz", mu_pris_param=np.array([Evil()], dtype=object), cov_pris_param=np.zeros((36, 36)))
    place(hub, monkeypatch, "PRISTINE", (tmp_path / "evil.npz").read_bytes())
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):  # none of the checksum that is asked for
        build_metrics(["niqe"])
    assert not (tmp_path / "canary").exists()


ADDRESSES = {
    "ckpt_path": (train, "ckpt_path={}"),
    "model.weights": (train, "model.weights={}"),
    "loss.perceptual.weights": (train, "loss=perceptual loss.perceptual.backbone=vgg16 loss.perceptual.weights={}"),
    "checkpoint": (evaluate, "data=sample checkpoint={}"),
}


@pytest.mark.fault("S1", "refused: an address is no file")
@pytest.mark.parametrize("key", ADDRESSES)
def test_S1_an_address_is_never_loaded(monkeypatch, capsys, key):
    """torch and Lightning execute what they fetch from one."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked for"))
    command, arguments = ADDRESSES[key]
    assert command([argument.format("https://example.org/a.ckpt") for argument in arguments.split()]) == 2
    said = capsys.readouterr().err
    assert f"{key}: " in said
    assert "https:/" in said


def test_the_files_are_evil(tmp_path):
    """Else the tests above would pass with harmless ones."""
    for name, write in WRITERS.items():
        if name == "tar":
            continue  # torch's first format is read by torch 1.x only
        write(PLACES["state_dict"](), tmp_path / "evil.ckpt")
        if name == "bare":
            pickle.loads((tmp_path / "evil.ckpt").read_bytes())
        else:
            torch.load(tmp_path / "evil.ckpt", weights_only=False)
        assert (tmp_path / "canary").exists()
        (tmp_path / "canary").unlink()
    np.savez(tmp_path / "evil.npz", a=np.array([Evil()], dtype=object))
    np.load(tmp_path / "evil.npz", allow_pickle=True)["a"]
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("entry", ["backbone_vgg19", "lpips_alex", "lpips_vgg", "lpips_squeeze"])
@pytest.mark.fault("S1", "nothing is executed")
def test_S1_weights_of_a_loss_run_nothing(tmp_path, monkeypatch, write, entry):
    """Checkpoints and `model.weights`: test_checkpoint; the metrics' weights: test_quality."""
    from sr_lightning.losses.lpips import _FILES

    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    hub = tmp_path / "hub/checkpoints"
    hub.mkdir(parents=True)
    kind, _, name = entry.partition("_")
    path = hub / _FILES[name] if kind == "lpips" else tmp_path / "evil.pth"
    WRITERS[write]({"features.0.weight": torch.zeros(1), "evil": Evil()}, path)
    with pytest.raises(UserError, match=rf"{path.name} cannot be read"):
        LPIPSLoss(name) if kind == "lpips" else VGGFeatures(name, weights=str(path))
    assert not Path("canary").exists()


@pytest.mark.parametrize("entry", ["ckpt_path", "model.weights"])
@pytest.mark.fault("S1", "status 2, nothing is executed")
def test_S1_a_command_that_is_given_an_evil_file_runs_nothing(tmp_path, tiny, monkeypatch, capsys, entry):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    content = {"state_dict": {"net.head.weight": Evil()}, "hyper_parameters": {"_instantiator": "os.system"}}
    if entry == "ckpt_path":
        run = run_of(tmp_path, tiny, monkeypatch)
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        zipped(content, run / "checkpoints/last.ckpt")
        assert main([f"ckpt_path={run}"]) == 2
    else:
        zipped(content, tmp_path / "evil.ckpt")
        assert main([*tiny, f"model.weights={tmp_path}/evil.ckpt"]) == 2
    said = capsys.readouterr().err
    assert "cannot be read as a checkpoint of plain data" in said
    assert "Traceback" not in said
    assert not Path("canary").exists()


@pytest.mark.fault("S1", "refused, nothing is executed")
def test_S1_an_image_is_never_a_program(tmp_path, monkeypatch):
    """PostScript is one, and Pillow would hand it to Ghostscript under any name."""
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was called"))
    (tmp_path / "a.png").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n%%EOF\n"
    )
    Image.preinit()
    with pytest.raises(UserError, match=r"a\.png: is not an image"):
        decode(tmp_path / "a.png")
