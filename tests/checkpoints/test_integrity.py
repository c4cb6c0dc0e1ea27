"""Checkpoints that say of themselves whether they are whole, and saves that are killed or find no space."""

import errno
import itertools
import os
import random
import signal

import pytest
import torch

from helpers.checkpoints import save_checkpoint
from sr_lightning.checkpoints.integrity import DamagedError, Trailer, find_resumable, read_trailer, tidy, write_trailer
from sr_lightning.checkpoints.lightning_io import SafeCheckpointIO
from sr_lightning.checkpoints.plain_data import read_checkpoint
from sr_lightning.errors import UserError


@pytest.mark.fault("T10", "every one found")
def test_every_flipped_bit_and_every_cut_is_found(tmp_path):
    """Every byte of the trailer, and a byte in eight of the rest; any bit in each; and lengths in between."""
    save_checkpoint(tmp_path, 3)
    whole = (tmp_path / "last.ckpt").read_bytes()
    assert read_trailer(tmp_path / "last.ckpt") == Trailer(3, {"a": {"b": 3}})
    draw, path = random.Random(0), tmp_path / "b.ckpt"
    path.write_bytes(whole)
    places = [*range(0, len(whole), 8), *range(whole.index(b"PK\5\6"), len(whole))]
    with path.open("r+b", buffering=0) as file:
        for place in places:
            os.pwrite(file.fileno(), bytes([whole[place] ^ 1 << draw.randrange(8)]), place)
            with pytest.raises(DamagedError):
                read_trailer(path)
            os.pwrite(file.fileno(), whole[place : place + 1], place)
    assert read_trailer(path)
    for length in draw.sample(range(1000, len(whole)), 50) + list(range(len(whole) - 10, len(whole))):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError):
            read_trailer(path)
    with pytest.raises(UserError, match=r"b\.ckpt: is damaged: "):
        SafeCheckpointIO().load_checkpoint(path)


def test_other_files_have_no_trailer(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.ckpt")
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("these are no weights")
    assert [read_trailer(tmp_path / name) for name in ("a.ckpt", "empty", "text")] == [None] * 3


def test_a_config_too_long_for_a_seal_is_left_out(tmp_path):
    with (tmp_path / "a").open("w+b") as file:
        torch.save({"a": 1}, file)
        write_trailer(file, Trailer(5, {"a": "b" * 100_000}))
    assert read_trailer(tmp_path / "a") == Trailer(5, None)
    assert torch.load(tmp_path / "a", weights_only=True) == {"a": 1}


@pytest.mark.parametrize("name", ["last", "previous"])
@pytest.mark.fault("T10", "the other one is used")
def test_an_empty_or_foreign_file_is_no_checkpoint(tmp_path, name):
    save_checkpoint(tmp_path, 1)
    save_checkpoint(tmp_path, 2)
    (tmp_path / f"{name}.ckpt").write_bytes(b"")
    kept = find_resumable(tmp_path)
    assert kept.trailer.step == {"last": 1, "previous": 2}[name]
    assert list(kept.damaged.values()) == ["it is empty"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12, where there are threads
@pytest.mark.fault("T3", "a whole one; leftovers removed at the next start")
def test_a_kill_anywhere_in_a_save_leaves_a_whole_checkpoint(tmp_path):
    """A process is killed before or after each call that changes the folder."""
    calls = [(torch, "save"), (os, "fsync"), (os, "link"), (os, "replace")]
    for (where, name), count, after in itertools.product(calls, (1, 2), (False, True)):
        folder = tmp_path / f"{name}{count}{after}"
        for step in (1, 2):
            save_checkpoint(folder, step)
        child = os.fork()
        if child == 0:
            real, seen = getattr(where, name), []

            def deadly(*arguments, real=real, seen=seen, count=count, after=after):
                seen.append(1)
                if after:
                    real(*arguments)
                if len(seen) == count:
                    os.kill(os.getpid(), signal.SIGKILL)
                return None if after else real(*arguments)

            setattr(where, name, deadly)
            save_checkpoint(folder, 3)
            os._exit(0)
        os.waitpid(child, 0)
        kept = find_resumable(folder)
        assert not kept.damaged
        assert kept.trailer.step == int(read_checkpoint_step(kept.newest)) >= 2
        assert len(list(folder.glob("*.part"))) <= 2
        (folder / "checkpoints").mkdir()
        for path in folder.glob("*.*"):
            path.rename(folder / "checkpoints" / path.name)
        tidy(folder)
        assert {p.name for p in (folder / "checkpoints").iterdir()} == {"last.ckpt", "previous.ckpt"}


def read_checkpoint_step(path):
    return SafeCheckpointIO().load_checkpoint(path)["global_step"]


@pytest.mark.fault("T3", "no part file is left by the run that goes on")
def test_a_kill_between_the_two_renames_leaves_no_second_name(tmp_path):
    """`previous` is `last` under another name then, and renaming a file to itself leaves both names (POSIX rename)."""
    save_checkpoint(tmp_path, 1)
    os.link(tmp_path / "last.ckpt", tmp_path / "previous.ckpt")
    save_checkpoint(tmp_path, 2)
    assert {p.name: read_trailer(p).step for p in tmp_path.iterdir()} == {"last.ckpt": 2, "previous.ckpt": 1}


@pytest.mark.parametrize("call", ["fsync", "link", "replace"])
@pytest.mark.fault("T5", "the old ones whole, nothing left over")
def test_a_full_disk_leaves_the_old_checkpoints_and_nothing_else(tmp_path, monkeypatch, call):
    folder = tmp_path / "a"
    for step in (1, 2):
        save_checkpoint(folder, step)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        patch.setattr("shutil.copyfile", full)  # where a link is refused
        with pytest.raises(OSError, match="No space"):
            save_checkpoint(folder, 3)
    assert {p.name: read_trailer(p).step for p in folder.iterdir()} == {"last.ckpt": 2, "previous.ckpt": 1}


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    io = SafeCheckpointIO()
    path = tmp_path / "new_folder" / "last.ckpt"
    io.save_checkpoint({"step": 1}, path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        io.save_checkpoint({"step": 2}, path)
    assert read_checkpoint(path) == {"step": 1}
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]
