"""Weights in and out: atomic, plain data only, all or none."""

import os

import pytest
import safetensors.torch
import torch
from torch import nn

from sr_lightning.checkpoint import SafeCheckpointIO, load_weights, read_checkpoint, read_weights
from sr_lightning.errors import UserError
from sr_lightning.models import EDSR


def small(seed=0):
    torch.manual_seed(seed)
    return EDSR(2, n_feats=4, n_resblocks=1)


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("kind", ["checkpoint", "plain", "safetensors"])
def test_each_kind_of_file_is_read(tmp_path, kind):
    net, other = small(0), small(1)
    if kind == "checkpoint":
        path = tmp_path / "a.ckpt"
        state = {f"net.{key}": value for key, value in net.state_dict().items()} | {"loss.x": torch.zeros(1)}
        torch.save({"state_dict": state, "global_step": 3}, path)
    elif kind == "plain":
        path = tmp_path / "a.pth"
        torch.save(net.state_dict(), path)
    else:
        path = tmp_path / "a.safetensors"
        safetensors.torch.save_file(net.state_dict(), path)
    assert not equal(net, other)
    load_weights(other, path)
    assert equal(net, other)


def test_weights_that_do_not_fit_change_nothing(tmp_path):
    net = small()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = small(1).state_dict()
    state["head.weight"] = torch.zeros(5, 3, 3, 3)
    del state["head.bias"]
    state["foo"] = torch.zeros(1)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(UserError) as caught:
        load_weights(net, tmp_path / "a.pth")
    for part in (
        "missing (1): head.bias",
        "unexpected (1): foo",
        "head.weight (5, 3, 3, 3), the network has (4, 3, 3, 3)",
    ):
        assert part in str(caught.value)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


class Evil:
    def __reduce__(self):
        return os.mkdir, ("made_by_a_checkpoint",)


def test_code_in_a_checkpoint_is_not_executed(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "x": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match=r"evil\.ckpt: cannot be read as a checkpoint of plain data"):
        read_weights(tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match="plain data"):
        SafeCheckpointIO().load_checkpoint(tmp_path / "evil.ckpt", weights_only=False)
    assert not (tmp_path / "made_by_a_checkpoint").exists()


def test_damaged_and_foreign_files_are_named(tmp_path):
    torch.save(small().state_dict(), tmp_path / "a.pth")
    data = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(data[: len(data) // 2])
    (tmp_path / "cut.safetensors").write_bytes(b"12345678")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"epoch": 3, "params": [1]}, tmp_path / "other.pth")
    for name in ("cut.pth", "cut.safetensors", "list.pth", "other.pth"):
        with pytest.raises(UserError, match=name.replace(".", r"\.")):
            read_weights(tmp_path / name)


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


def test_a_module_of_ones_own_loads_too(tmp_path):
    net = nn.Conv2d(3, 3, 1)
    torch.save(net.state_dict(), tmp_path / "a.pth")
    load_weights(nn.Conv2d(3, 3, 1), tmp_path / "a.pth")
    with pytest.raises(UserError, match="does not fit Linear"):
        load_weights(nn.Linear(3, 3), tmp_path / "a.pth")
