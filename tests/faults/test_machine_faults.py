"""What the system refuses, for real: space, permissions, locks; and checkpoints that are not what they seem."""

import contextlib
import errno
import logging
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.checkpoints import save_checkpoint
from helpers.faulty_runs import Fault, Killed, assert_same, checked, content, go_on, kill, run
from sr_lightning.callbacks.pictures import write_png
from sr_lightning.checkpoints.integrity import find_resumable, read_trailer
from sr_lightning.data.cache.store import ImageStore, OnDemand
from sr_lightning.data.duplicates.stored_hashes import stored_hashes
from sr_lightning.data.files import find_images
from sr_lightning.data.sampling.loader import dead_workers_ignored
from sr_lightning.errors import FailedError, TrainingFailedError, UserError
from sr_lightning.runs.lock import locked
from sr_lightning.runs.resume import Resume, prepare
from sr_lightning.training.failures import explain

pytestmark = pytest.mark.usefixtures("_small_runs")
FORKS = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12, where there are threads


@contextlib.contextmanager
def largest_file(size):
    """The system itself refuses to let a file grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def nobody():
    """Root may do everything; within the block this process is somebody else."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder():
    """One that everybody may enter; pytest's own are root's alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


# -- saves -------------------------------------------------------------------------------------------


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


@pytest.mark.fault("T5", "refused at the start, not waited for")
def test_too_little_shared_memory_for_workers(monkeypatch):
    """A worker that finds no room for its batch would only print so."""
    monkeypatch.setattr("sr_lightning.data.sampling.loader._SHARED", "/nowhere")  # as small as it can be
    with pytest.raises(UserError, match=r"data\.num_workers: found 1, .* but /nowhere has 0\.0; allowed: data\.num_w"):
        run(checked("data.num_workers=1"), "a")
    run(checked(), "b")  # without workers nothing is handed over


@pytest.mark.fault("T9", "the state is saved all the same")
def test_a_dead_worker_does_not_disturb_the_last_save():
    def handler(*_):
        raise RuntimeError("DataLoader worker is killed")

    before = signal.signal(signal.SIGCHLD, handler)
    try:
        with dead_workers_ignored():
            subprocess.run(["true"], check=True)
        assert signal.getsignal(signal.SIGCHLD) is handler
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.fault("D23", "the step before is saved, the file named; bit-equal once it is back")
@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_vanishes_while_it_is_trained_on(monkeypatch, workers):
    monkeypatch.setitem(OnDemand.__init__.__kwdefaults__, "kept_bytes", 1)  # else so small a set is kept in memory
    config = checked("data.store_limit_gb=0", f"data.num_workers={workers}")
    run(config, "straight")
    trained = sorted(Path("pictures").iterdir())
    away = Path("away")
    away.mkdir()

    def vanish(*_):
        for path in trained:
            path.rename(away / path.name)

    with pytest.raises(FailedError, match=r"data: cannot read .*pictures/.*put back what was there"):
        run(config, "a", Fault("on_train_batch_end", 2, vanish))
    assert content("a")["global_step"] >= 2
    for path in trained:
        (away / path.name).rename(path)
    go_on(config, "a")
    assert_same("straight", "a")


# -- permissions -------------------------------------------------------------------------------------


@pytest.mark.fault("T6", "refused at the start")
def test_a_folder_that_is_somebody_elses(open_folder):
    open_folder.chmod(0o555)
    said = r"hydra\.run\.dir: cannot write into .*a: Permission denied"
    with nobody(), pytest.raises(UserError, match=said), locked(open_folder / "a", "hydra.run.dir"):
        pass
    assert list(open_folder.iterdir()) == []


@pytest.mark.fault("T6", "used as it is; what cannot be kept is worked out again")
def test_a_whole_cache_that_is_read_only(open_folder, caplog):
    (open_folder / "in").mkdir()
    for i in range(2):
        Image.new("RGB", (64, 64), (i, i, i)).save(open_folder / "in" / f"{i}.png")
    cache = open_folder / "cache"
    ImageStore(find_images(open_folder / "in"), cache)
    cache.chmod(0o555)
    with nobody(), caplog.at_level(logging.INFO):
        store = ImageStore(find_images(open_folder / "in"), cache)
        hashes = stored_hashes(store, orientations=8)
    assert "hashes8.json: cannot be written (Permission denied)" in caplog.text
    assert len(store) == len(hashes.pixels) == 2


@pytest.mark.fault("D18", "refused by name")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_closed_to_this_user(open_folder, what):
    (open_folder / "in").mkdir()
    for name in ("a.png", "in/b.png"):
        Image.new("RGB", (8, 8)).save(open_folder / name)
    (open_folder / ("a.png" if what == "file" else "in")).chmod(0)
    named = r"a\.png" if what == "file" else "in"
    with nobody(), pytest.raises(UserError, match=rf"cannot read .*{named}: Permission denied"):
        ImageStore(find_images(open_folder), open_folder / "cache")


# -- one folder, several processes -------------------------------------------------------------------


@FORKS
@pytest.mark.fault("T12", "one gets the folder, and gives it back when it is killed")
def test_of_several_that_start_together_one_gets_the_folder(tmp_path):
    n = 6
    start, told, end = os.pipe(), os.pipe(), os.pipe()
    children = []
    for _ in range(n):
        if child := os.fork():
            children.append(child)
            continue
        os.close(end[1])
        os.read(start[0], 1)
        try:
            with locked(tmp_path, "x"):
                os.write(told[1], b"%8d" % os.getpid())
                os.read(end[0], 1)
        except UserError:
            os.write(told[1], b"%8d" % 0)
        os._exit(0)
    os.write(start[1], b"x" * n)
    answers = [int(os.read(told[0], 8)) for _ in range(n)]
    (winner,) = (answer for answer in answers if answer)
    with pytest.raises(UserError, match=f"in use by another run .process {winner} on "), locked(tmp_path, "x"):
        pass
    os.kill(winner, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    with locked(tmp_path, "x"):
        pass
    for descriptor in (*start, *told, *end):
        os.close(descriptor)


# -- checkpoints that are not what they seem -----------------------------------------------------------


def foreign_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"of another program")


def half(path):
    os.truncate(path, path.stat().st_size // 2)


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


SPOILED = {
    "cut": half,
    "one byte short": lambda path: os.truncate(path, path.stat().st_size - 1),
    "empty": lambda path: os.truncate(path, 0),
    "flipped": flipped,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("<html>404</html>"),
    "another zip": foreign_zip,
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"more"),
}


@pytest.mark.fault("T10", "found; the one before is used, and said")
@pytest.mark.parametrize("kind", SPOILED)
def test_a_spoiled_last_checkpoint(tmp_path, kind):
    for step in (1, 2):
        save_checkpoint(tmp_path / "checkpoints", step)
    last = tmp_path / "checkpoints/last.ckpt"
    SPOILED[kind](last)
    kept = find_resumable(last.parent)
    assert (kept.newest.name, kept.trailer.step) == ("previous.ckpt", 1)
    assert list(kept.damaged) == [last]
    told = prepare(tmp_path, Resume(tmp_path, kept.newest, None, [], kept.trailer, kept.damaged))
    assert told[0].startswith(f"{last} is damaged: ")
    assert "Continuing from previous.ckpt, step 1, in its place" in told[0]
    assert {path.name for path in last.parent.iterdir()} == {"previous.ckpt", "last.ckpt.damaged"}


def as_lightning_writes(saved):
    """What Lightning 2.0 writes of another project's module."""
    loops = {"fit_loop": {}, "validate_loop": {}, "test_loop": {}, "predict_loop": {}}
    state = {"model.conv.weight": torch.zeros(3, 3, 3, 3)}
    content = {"epoch": 0, "global_step": 3, "pytorch-lightning_version": "2.0.0", "state_dict": state}
    return content | {"loops": loops, "callbacks": {}, "optimizer_states": [], "lr_schedulers": []}


def without_a_key(saved):
    del saved["state_dict"]["net.body.0.bias"]
    return saved


def of_another_width(saved):
    saved["state_dict"]["net.body.0.weight"] = torch.zeros(9, 3, 3, 3)
    return saved


STRANGE = {
    "Lightning 2.0": (as_lightning_writes, r"does not fit the network.*\n.*net\.body\.0\.bias"),
    "a missing key": (without_a_key, r"does not fit the network.*\n.*missing .1.: net\.body\.0\.bias"),
    "another width": (of_another_width, r"does not fit the network.*\n.*\(9, 3, 3, 3\)"),
    "weights only": (lambda saved: {"state_dict": saved["state_dict"]}, "there is no training to continue"),
}


@pytest.mark.fault("T11", "refused with what differs; nothing is taken over")
@pytest.mark.parametrize("kind", STRANGE)
def test_a_checkpoint_of_something_else_in_the_runs_folder(kind):
    config = checked("trainer.max_steps=3")
    with pytest.raises(Killed):
        run(config, "a", Fault("on_train_batch_start", 2, kill))
    change, said = STRANGE[kind]
    for path in Path("a/checkpoints").iterdir():
        saved = torch.load(path, weights_only=True)
        path.unlink()
    saved.pop("sr_lightning_sealed")
    torch.save(change(saved), "a/checkpoints/last.ckpt")
    with pytest.raises(UserError, match=said):
        go_on(config, "a")


@pytest.mark.fault("T5", "taken for a full disk")
def test_a_quota_is_a_full_disk(tmp_path):
    from sr_lightning.training.failures import explain

    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        assert "no space is left" in explain(OSError(number, os.strerror(number), "a.ckpt"), tmp_path)
    assert explain(OSError(errno.EINVAL, "?", "a.ckpt"), tmp_path) is None
