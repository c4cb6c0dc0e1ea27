"""Checkpoints that are damaged, of another time or of something else: passed over and told, or refused."""

import os
import zipfile
from pathlib import Path

import pytest
import torch

from helpers.checkpoints import save_checkpoint
from helpers.faulty_runs import (
    CONF,
    MINE,
    SETTINGS,
    Fault,
    Killed,
    assert_same,
    checked,
    content,
    go_on,
    kept_in,
    kill,
    run,
)
from sr_lightning.checkpoints.integrity import find_resumable
from sr_lightning.errors import UserError
from sr_lightning.runs.resume import Resume, prepare
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_small_runs")


@pytest.mark.fault("T14", "chosen by step")
def test_clocks_do_not_matter():
    config = checked()
    with pytest.raises(Killed):
        run(config, "a", Fault("on_train_batch_end", 5, kill))
    for name, when in (("last", 0), ("previous", 2**31)):
        os.utime(f"a/checkpoints/{name}.ckpt", (when, when))
    found = find_resumable(Path("a/checkpoints"))
    assert (found.newest.name, found.trailer.step) == ("last.ckpt", 4)
    Path("a/checkpoints/last.ckpt").rename("x")
    Path("a/checkpoints/previous.ckpt").rename("a/checkpoints/last.ckpt")
    Path("x").rename("a/checkpoints/previous.ckpt")
    found = find_resumable(Path("a/checkpoints"))
    assert (found.newest.name, found.trailer.step) == ("previous.ckpt", 4)


@pytest.mark.fault("T10", "the one before is used, and said; bit-equal")
def test_a_damaged_checkpoint_is_passed_over_and_told(straight_run):
    config, straight = checked(), straight_run()
    with pytest.raises(Killed):
        run(config, "a", Fault("on_train_batch_end", 5, kill))
    last = Path("a/checkpoints/last.ckpt")
    data = bytearray(last.read_bytes())
    data[len(data) // 2] ^= 4
    last.write_bytes(data)
    told = prepare(Path("a"), kept_in("a", config=config))
    assert "last.ckpt is damaged: the checksum of " in told[0]
    assert "Continuing from previous.ckpt, step 2, in its place" in told[0]
    assert "set aside as last.ckpt.damaged" in told[1]
    go_on(config, "a")
    assert_same(straight.folder, "a")
    assert Path("a/checkpoints/last.ckpt.damaged").read_bytes() == data


@pytest.mark.usefixtures("_hydras_logging")
@pytest.mark.fault("T11", "refused: weights are no state")
def test_a_run_without_a_checkpoint_begins_again_and_files_of_weights_are_no_state(capsys):
    assert main([*CONF, *SETTINGS, "hydra.run.dir=a", "trainer.max_steps=2"]) == 0
    torch.save({"state_dict": {}}, "a/checkpoints/last.ckpt")
    Path("a/checkpoints/previous.ckpt").unlink(missing_ok=True)
    assert main(["ckpt_path=a", MINE]) in (1, 2)
    assert "there is no training to continue" in capsys.readouterr().err
    for path in Path("a/checkpoints").iterdir():
        path.unlink()
    assert main(["ckpt_path=a", MINE]) == 0
    assert "beginning a again" in capsys.readouterr().out
    assert content("a")["global_step"] == 2


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
