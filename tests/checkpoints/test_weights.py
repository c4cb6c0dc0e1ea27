"""Weights read from files of every kind, without their wrappings: plain data only, all or none."""

from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import safetensors.torch
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from helpers.hostile_files import PLACES, bare, legacy, tarred, zipped
from helpers.small_networks import equal, named, small
from sr_lightning.callbacks import EMA
from sr_lightning.checkpoints.lightning_io import SafeCheckpointIO
from sr_lightning.checkpoints.plain_data import read_checkpoint
from sr_lightning.checkpoints.weights import WeightsFile, load_weights
from sr_lightning.errors import UserError
from sr_lightning.models import EDSR


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


@pytest.mark.fault("T11", "refused with names and shapes; nothing is loaded")
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


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize(("place", "suffix"), [*((place, ".ckpt") for place in PLACES), ("value", ".safetensors")])
@pytest.mark.parametrize("write", [zipped, legacy, bare, tarred])
@pytest.mark.fault("S1", "nothing is executed, by any reader")
def test_code_in_a_file_is_not_executed(tmp_path, monkeypatch, write, place, forced, suffix):
    """Wherever it stands, in every format of torch's, whatever the environment and the file's name say."""
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = tmp_path / f"evil{suffix}"
    write(PLACES[place](), path)
    assert not Path("canary").exists()
    for read in (WeightsFile.read, lambda p: load_weights(small(), p)):
        with pytest.raises(UserError, match=r"evil\..*cannot be read as"):
            read(path)
    with pytest.raises(UserError, match="plain data"):
        SafeCheckpointIO().load_checkpoint(path, weights_only=False)
    assert not Path("canary").exists()


def test_the_canary_sings(tmp_path):
    """Else the test above would pass with a harmless file."""
    zipped(PLACES["value"](), tmp_path / "evil.ckpt")
    torch.load(tmp_path / "evil.ckpt", weights_only=False)
    assert Path("canary").exists()


@pytest.mark.fault("T11", "refused with a reason")
def test_damaged_and_foreign_files_are_named(tmp_path):
    torch.save(small().state_dict(), tmp_path / "a.pth")
    data = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(data[: len(data) // 2])
    (tmp_path / "half.safetensors").write_bytes(b"12345678")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "page.pth").write_text("\n<!DOCTYPE html><html>Sign in</html>")
    (tmp_path / "lfs.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (tmp_path / "text.pth").write_text("these are no weights")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"epoch": 3, "params": [1]}, tmp_path / "other.pth")
    torch.save({"a": torch.zeros(1), "b": {"c": torch.zeros(1)}}, tmp_path / "nested.pth")
    torch.save({}, tmp_path / "nothing.pth")
    cycle = {}
    cycle["model"] = cycle
    torch.save(cycle, tmp_path / "cycle.pth")
    torch.save({"a": torch.zeros(1), "b": np.zeros(1)}, tmp_path / "numpy.pth")
    torch.save(small(), tmp_path / "module.pth")
    for name, reason in {
        "half.pth": "it is damaged",
        "half.safetensors": "as safetensors",
        "empty.pth": "the file is empty",
        "page.pth": "it is a web page",
        "lfs.pth": "pointer of Git LFS",
        "text.pth": "it is damaged, or no file of weights",
        "list.pth": "holds a list",
        "other.pth": "found the keys epoch, params",
        "nested.pth": "found the keys a, b",
        "cycle.pth": "found the keys model",
        "nothing.pth": "found the keys nothing",
        "numpy.pth": "it holds numpy.+ nothing in a file is executed here; allowed: the state dict, saved anew",
        "module.pth": "it holds sr_lightning.models.edsr.EDSR",
        "absent.pth": "No such file",
        "absent.safetensors": "No such file",
    }.items():
        with pytest.raises(UserError, match=rf"{name.replace('.', '[.]')}.*{reason}") as caught:
            WeightsFile.read(tmp_path / name)
        assert "weights_only" not in str(caught.value)  # torch's advice


WRAPPED = {
    "params_ema": lambda s, raw: {"params": raw, "params_ema": s},
    "params": lambda s, raw: {"params": s},
    "module": lambda s, raw: named("module.", s),
    "basicsr_module": lambda s, raw: {"params": named("module.", s)},
    "compiled": lambda s, raw: named("_orig_mod.", s),
    "ours_compiled": lambda s, raw: {"state_dict": named("net._orig_mod.", s)},
    "ours_adversarial": lambda s, raw: {"state_dict": named("net.", s) | named("discriminator.", raw)},
    "others_lightning": lambda s, raw: {"state_dict": named("model.", s), "epoch": 1},
    "others_lightning_loss": lambda s, raw: {"state_dict": named("model.", s) | named("loss.", raw)},
    "others_gan": lambda s, raw: {"state_dict": named("net_g.", s) | named("net_d.", raw)},
    "model_state_dict": lambda s, raw: {"model_state_dict": s, "optimizer": {"state": {}}, "epoch": 3},
    "two_deep": lambda s, raw: {"model": {"state_dict": named("module.", s)}},
    "with_numbers": lambda s, raw: s | {"epoch": 3, "psnr": 28.1, "name": "x"},
}


@pytest.mark.parametrize("kind", list(WRAPPED))
def test_wrappers_are_taken_off(tmp_path, kind):
    net, other = small(0), small(1)
    torch.save(WRAPPED[kind](net.state_dict(), small(2).state_dict()), tmp_path / "a.pth")
    load_weights(other, tmp_path / "a.pth")
    assert equal(net, other)


def test_a_network_starts_from_another_scales_weights_but_for_its_tail(tmp_path):
    x2, x3 = EDSR(2, n_feats=4, n_resblocks=1), EDSR(3, n_feats=4, n_resblocks=1)
    torch.save(x2.state_dict(), tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"model\.fresh=\[tail\]"):
        load_weights(x3, tmp_path / "a.pth")
    tail = {key: value.clone() for key, value in x3.tail.state_dict().items()}
    load_weights(x3, tmp_path / "a.pth", fresh=["tail"])
    assert equal(x3.head, x2.head)
    assert equal(x3.body, x2.body)
    assert all(torch.equal(tail[key], value) for key, value in x3.tail.state_dict().items())
    with pytest.raises(UserError, match=r"found 'tale', EDSR has head, body, tail"):
        load_weights(x3, tmp_path / "a.pth", fresh=["tale"])
    with pytest.raises(UserError, match="does not fit"):  # the rest must fit all the same
        load_weights(EDSR(3, n_feats=5, n_resblocks=1), tmp_path / "a.pth", fresh=["tail"])


def test_a_prefix_that_only_some_names_have_stays(tmp_path):
    state = small().state_dict()
    torch.save({("module." if key.startswith("body") else "") + key: v for key, v in state.items()}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"unexpected \(6\): module\.body\.0"):
        load_weights(small(), tmp_path / "a.pth")


def test_a_network_may_itself_call_its_part_net(tmp_path):
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Conv2d(3, 3, 1)

    outer, other = Outer(), Outer()
    torch.save(outer.state_dict(), tmp_path / "plain.pth")
    torch.save({"state_dict": named("net.", outer.state_dict())}, tmp_path / "ours.ckpt")
    for name in ("plain.pth", "ours.ckpt"):
        load_weights(other, tmp_path / name)
        assert equal(outer, other)


def scaled(value):
    """As a quantiser leaves weights, without its scales."""
    return (value * 100).to(torch.int8)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (scaled, r"numbers of another kind \(12\): head\.weight int8, the network has float32"),
        (lambda v: v.to(torch.float8_e4m3fn), r"another kind \(12\): head\.weight float8_e4m3fn"),
        (lambda v: v > 0, r"another kind \(12\): head\.weight bool"),
        (lambda v: torch.full_like(v, torch.nan), r"holds weights that are not finite \(12\): \w+\."),
        (lambda v: torch.full_like(v, torch.inf), r"not finite .*\. A training that diverged leaves such a file"),
    ],
    ids=["int8", "float8", "bool", "nan", "inf"],
)
@pytest.mark.fault("T11", "refused before training, the file is named")
def test_weights_that_are_no_finite_floats_are_refused(tmp_path, suffix, change, said):
    state = {key: change(value) for key, value in small(1).state_dict().items()}
    path = tmp_path / f"a.{suffix}"
    (safetensors.torch.save_file if suffix == "safetensors" else torch.save)(state, path)
    net = small()
    with pytest.raises(UserError, match=rf"a\.{suffix}[\s\S]*{said}"):
        load_weights(net, path)
    assert equal(net, small())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_precisions_are_converted(tmp_path, dtype):
    torch.save({key: value.to(dtype) for key, value in small(1).state_dict().items()}, tmp_path / "a.pth")
    net = small()
    load_weights(net, tmp_path / "a.pth")
    for ours, theirs in zip(net.state_dict().values(), small(1).state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs.to(dtype).float())


def test_safetensors_by_content(tmp_path):
    safetensors.torch.save_file(small(0).state_dict(), tmp_path / "a.pth")
    other = small(1)
    load_weights(other, tmp_path / "a.pth")
    assert equal(small(0), other)


@pytest.mark.filterwarnings("ignore")  # Lightning's, about this machine's cores and its SLURM
def test_the_average_is_taken_from_a_checkpoint_that_has_one(tmp_path):
    """Written by Lightning itself, which keeps both."""

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = small()

        def training_step(self, batch, _):
            return self.net(batch).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1.0)

    trainer = pl.Trainer(
        max_steps=2,
        callbacks=[EMA(decay=0.5), ModelCheckpoint(tmp_path, filename="a", every_n_train_steps=2)],
        plugins=[SafeCheckpointIO()],
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Module()
    trainer.fit(module, torch.utils.data.DataLoader(torch.rand(2, 3, 6, 6)))
    content = read_checkpoint(tmp_path / "a.ckpt")
    net = small()
    load_weights(net, tmp_path / "a.ckpt")
    assert torch.equal(net.head.weight, content["state_dict"]["net.head.weight"])
    assert not torch.equal(net.head.weight, content["current_model_state"]["net.head.weight"])


def test_a_module_of_ones_own_loads_too(tmp_path):
    net = nn.Conv2d(3, 3, 1)
    torch.save(net.state_dict(), tmp_path / "a.pth")
    load_weights(nn.Conv2d(3, 3, 1), tmp_path / "a.pth")
    with pytest.raises(UserError, match="does not fit Linear"):
        load_weights(nn.Linear(3, 3), tmp_path / "a.pth")
