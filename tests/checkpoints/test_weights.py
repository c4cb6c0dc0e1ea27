"""Weights in and out: atomic, plain data only, all or none."""

import os
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import safetensors.torch
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from helpers.hostile_files import PLACES, bare, legacy, tarred, zipped
from sr_lightning.builders.identify_network import suggest_overrides
from sr_lightning.builders.network import build_network
from sr_lightning.callbacks import EMA
from sr_lightning.checkpoints.lightning_io import SafeCheckpointIO
from sr_lightning.checkpoints.plain_data import read_checkpoint
from sr_lightning.checkpoints.weights import WeightsFile, load_weights
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


def named(prefix, state):
    return {prefix + key: value for key, value in state.items()}


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


# -- what a checkpoint says about its network --------------------------------------------------------

MODEL = {
    "_target_": "sr_lightning.models.EDSR",
    "scale": 2,
    "n_feats": 4,
    "n_resblocks": 1,
    "res_scale": 1.0,
    "activation": "relu",
    "upsampler": "pixelshuffle",
    "global_skip": "none",
    "rgb_mean": [0.4488, 0.4371, 0.404],
    "weights": "/elsewhere/first.ckpt",
    "adam_lr": 1e-4,
}


def read_config(path):
    return WeightsFile.read(path).network_config


def saved(path, model, scale=(2,), version=1):
    config = {"model": model, "scale": list(scale), "loss": {"_target_": "os.system"}}
    state = named("net.", small().state_dict())
    torch.save({"state_dict": state, "sr_lightning": {"format": version, "config": config}}, path)
    return path


def test_a_network_is_built_again_from_its_checkpoint(tmp_path):
    path = saved(tmp_path / "a.ckpt", MODEL)
    config = read_config(path)
    assert config["scale"] == [2]
    assert config["model"] == {key: value for key, value in MODEL.items() if key not in ("weights", "fresh", "adam_lr")}
    net = build_network(config["model"])
    load_weights(net, path)
    assert equal(net, small())


def test_other_files_say_nothing_about_their_network(tmp_path):
    torch.save(small().state_dict(), tmp_path / "a.pth")
    safetensors.torch.save_file(small().state_dict(), tmp_path / "a.safetensors")
    torch.save({"state_dict": small().state_dict(), "sr_lightning": {"format": 1, "config": {}}}, tmp_path / "b.ckpt")
    assert [read_config(tmp_path / name) for name in ("a.pth", "a.safetensors", "b.ckpt")] == [None] * 3


@pytest.mark.fault("T11", "refused with both versions")
def test_a_newer_format_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"a\.ckpt: has the format 2, allowed: 1"):
        read_config(saved(tmp_path / "a.ckpt", MODEL, version=2))


@pytest.mark.parametrize(
    "target",
    [
        "builtins.open",
        "os.system",
        "torch.load",
        "builtins.eval",
        "sr_lightning.models",
        "sr_lightning.models.blocks.os.system",
        "sr_lightning.models.edsr.EDSR",
        "sr_lightning.models.edsr.torch.load",
        "sr_lightning.models.EDSR.from_official",
        "sr_lightning.models.conversion.rename",
        "sr_lightning.models.__builtins__",
        "sr_lightning.models.EDSR\n",
        "sr_lightning.checkpoints.weights.read_checkpoint",
        "my_package.MyNet",
        "${oc.env:HOME}",
        "",
        None,
        7,
        ["sr_lightning.models.EDSR"],
        {"_target_": "os.system"},
    ],
    ids=str,
)
@pytest.mark.fault("S2", "refused")
def test_a_checkpoint_may_only_name_our_networks(tmp_path, target):
    path = saved(tmp_path / "a.ckpt", {**MODEL, "_target_": target})
    with pytest.raises(UserError, match=r"a\.ckpt: was saved with the network .* model\._target_="):
        read_config(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rgb_mean", {"_target_": "os.getcwd"}),
        ("rgb_mean", [1, {"x": {"_target_": "os.getcwd"}}]),
        ("rgb_mean", ["${oc.env:HOME}"]),
        ("activation", "${oc.env:HOME}"),
        ("activation", "x${oc.decode:'1'}"),
        ("${oc.env:HOME}", 1),
        ("_args_", [3]),
        ("_partial_", True),
        ("_recursive_", False),
        ("_convert_", "none"),
        ("n_feats", torch.zeros(1)),
        ("n_feats", (1, 2)),
        (3, 4),
        (None, 4),
    ],
    ids=str,
)
@pytest.mark.fault("S2", "refused, nothing looked up")
def test_arguments_in_a_checkpoint_are_data(tmp_path, monkeypatch, key, value):
    monkeypatch.setenv("HOME", "must not be seen")
    path = saved(tmp_path / "a.ckpt", {**MODEL, key: value})
    with pytest.raises(UserError, match=r"a\.ckpt: the argument .* is no plain value") as caught:
        read_config(path)
    assert "must not be seen" not in str(caught.value)


@pytest.mark.parametrize("scale", [[], [2.0], ["${oc.env:HOME}"], [True]], ids=str)
def test_scales_in_a_checkpoint_are_whole_numbers(tmp_path, scale):
    with pytest.raises(UserError, match=r"a\.ckpt: was saved with the scale .* allowed: whole numbers"):
        read_config(saved(tmp_path / "a.ckpt", MODEL, scale))


def test_a_section_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"was saved with the network 'os\.system'"):
        read_config(saved(tmp_path / "a.ckpt", "os.system"))


# -- the config that would fit -----------------------------------------------------------------------


def test_the_config_that_would_fit_is_named(tmp_path):
    ours = saved(tmp_path / "ours.ckpt", MODEL)
    torch.save(EDSR(4, n_feats=8).state_dict(), tmp_path / "plain.pth")
    torch.save({"x": torch.zeros(3)}, tmp_path / "unknown.pth")
    section = MODEL | {"n_feats": 6}
    for path, advice in (
        (ours, "\n  it was saved with: model=edsr_baseline model.n_feats=4 model.n_resblocks=1 scale=2"),
        (tmp_path / "plain.pth", "\n  it fits: model=edsr_baseline model.n_feats=8 scale=4"),
        (tmp_path / "unknown.pth", "\n  unexpected (1): x"),
    ):
        with pytest.raises(UserError) as caught:
            build_network(section | {"weights": str(path)})
        assert str(caught.value).endswith(advice)


def test_a_hostile_config_gives_no_advice(tmp_path):
    path = saved(tmp_path / "a.ckpt", {**MODEL, "_target_": "os.system"})
    assert suggest_overrides(WeightsFile.read(path)) is None


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
