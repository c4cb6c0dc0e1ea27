"""Files that cannot be written to their end, on a full disk or by a killed process: whole, or not there."""

import contextlib
import errno
import os
import resource
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.checkpoints import save_checkpoint
from helpers.faulty_runs import FORKS, Fault, assert_same, checked, content, go_on, run
from sr_lightning.callbacks.pictures import write_png
from sr_lightning.checkpoints.integrity import find_resumable, read_trailer
from sr_lightning.checkpoints.lightning_io import SafeCheckpointIO
from sr_lightning.data.cache.store import ImageStore
from sr_lightning.data.files import find_images
from sr_lightning.errors import TrainingFailedError, UserError
from sr_lightning.training.failures import explain

pytestmark = pytest.mark.usefixtures("_small_runs")


@pytest.mark.parametrize("name", ["best", "last"])
@pytest.mark.fault("T5", "the validation is repeated, bit-equal")
def test_a_checkpoint_that_fails_halfway_is_written_by_the_run_that_goes_on(straight_run, monkeypatch, name):
    config, straight = checked(), straight_run()
    real = SafeCheckpointIO.save_checkpoint

    def full(self, checkpoint, path, storage_options=None):
        if Path(path).stem == name:
            patch.undo()
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, checkpoint, path, storage_options)

    with monkeypatch.context() as patch:
        patch.setattr(SafeCheckpointIO, "save_checkpoint", full)
        with pytest.raises(TrainingFailedError, match="no space is left"):
            run(config, "a")
    assert content("a")["global_step"] == 2
    go_on(config, "a")
    assert_same(straight.folder, "a")


@pytest.mark.fault("T5", "a sentence, the old checkpoints whole, nothing left over")
def test_a_full_disk_ends_the_run_in_words(monkeypatch):
    real, saves = torch.save, []

    def full(*arguments):
        saves.append(1)
        if len(saves) > 2:
            arguments[1].write(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingFailedError, match=r"(?s)^a: no space is left to write.*continue with\n.*ckpt_path=a"):
        run(checked(), "a")
    assert find_resumable(Path("a/checkpoints")).trailer.step == 2
    assert not list(Path("a/checkpoints").glob("*.part"))


@contextlib.contextmanager
def largest_file(size):
    """The system itself refuses to let a file grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.fault("T3", "a save needs no folder but its own")
def test_no_folder_for_temporary_files_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    save_checkpoint(tmp_path / "a", 1)
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"last.ckpt"}
    assert read_trailer(tmp_path / "a/last.ckpt").step == 1


@pytest.mark.fault("T5", "a sentence, the old checkpoints whole, nothing left over")
def test_a_checkpoint_that_may_not_grow():
    """Between two steps, for a run that has saved before."""
    held = contextlib.ExitStack()
    with held, pytest.raises(TrainingFailedError, match=r"(?s)no space is left to write.*continue with\n.*ckpt_path=a"):
        run(checked(), "a", Fault("on_train_batch_end", 3, lambda *_: held.enter_context(largest_file(9_000))))
    kept = find_resumable(Path("a/checkpoints"))
    assert not kept.damaged
    assert kept.trailer.step == 2
    assert not list(Path("a").rglob("*.part"))
    go_on(checked(), "a")
    assert content("a")["global_step"] == 7


@pytest.mark.fault("T5", "refused by name, nothing left over")
def test_a_cache_that_may_not_grow(tmp_path):
    paths = find_images("pictures")
    with largest_file(9_000), pytest.raises(UserError, match=r"paths\.cache: cannot write decoded images to"):
        ImageStore(paths, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    assert len(ImageStore(paths, tmp_path / "cache")) == 5


@FORKS
@pytest.mark.fault("I5", "no part of an image under its name")
@pytest.mark.parametrize("call", ["save", "replace"])
def test_a_kill_while_an_image_is_written(tmp_path, call):
    path = tmp_path / "a.png"
    write_png(path, np.zeros((40, 40, 3), np.uint8))
    before = path.read_bytes()
    child = os.fork()
    if child == 0:
        real = Image.Image.save

        def half(image, target, **settings):
            real(image, target, **settings)
            os.truncate(target, 50)
            os.kill(os.getpid(), signal.SIGKILL)

        if call == "save":
            Image.Image.save = half
        else:
            os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        write_png(path, np.full((40, 40, 3), 9, np.uint8))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert path.read_bytes() == before


@pytest.mark.fault("T5", "told as a full disk, though torch raises another error while it closes the file")
def test_torchs_own_words_for_a_full_disk():
    with largest_file(100), Path("a").open("wb", buffering=0) as file, pytest.raises(RuntimeError) as caught:
        torch.save({"a": torch.zeros(1000)}, file)
    assert "run: no space is left to write" in explain(caught.value, Path("run"))
    assert explain(RuntimeError("another"), Path("run")) is None


@pytest.mark.fault("T5", "taken for a full disk")
def test_a_quota_is_a_full_disk(tmp_path):
    from sr_lightning.training.failures import explain

    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        assert "no space is left" in explain(OSError(number, os.strerror(number), "a.ckpt"), tmp_path)
    assert explain(OSError(errno.EINVAL, "?", "a.ckpt"), tmp_path) is None
