"""What a checkpoint says about its network: built again from it, refused where it is not ours, named as advice."""

import pytest
import safetensors.torch
import torch

from helpers.small_networks import equal, named, small
from sr_lightning.builders.identify_network import suggest_overrides
from sr_lightning.builders.network import build_network
from sr_lightning.checkpoints.network_config import check_own_network
from sr_lightning.checkpoints.weights import WeightsFile, load_weights
from sr_lightning.errors import UserError
from sr_lightning.models import EDSR

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
    with pytest.raises(UserError, match=r"a\.ckpt: was saved with the network .* sr_lightning\.models,"):
        read_config(path)


@pytest.mark.parametrize(
    "section",
    [
        {"_target_": "mine.Net", "name": "a\nb"},
        {"_target_": "mine.Net", "name": "\x1b[2J"},
        {"_target_": "mine.Net", "a: {b": 1},
        {"_target_": "mine.Net", "size": 10**5000},
        {"_target_": "mine.Net", "sizes": list(range(9999))},
        {"_target_": "mine.Net", "inner": {"_target_": "os.getcwd"}},
        {"_target_": "mine.Net\n"},
        {"_target_": "${oc.env:HOME}"},
        {},
    ],
)
def test_what_cannot_be_typed_as_it_stands_in_a_checkpoint_is_not_told(tmp_path, section):
    with pytest.raises(UserError, match="with its arguments") as caught:
        check_own_network(section, tmp_path / "a.ckpt")
    assert len(str(caught.value)) < 400
    assert "\x1b" not in str(caught.value)


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
