"""What the names in published weights do not tell: the range of values, and the mean colour that is taken away."""

import pytest
import torch
from torch.nn import functional as F

from helpers.published_networks import Layers, agree, edsr, edsr_basicsr, ninasr, rfdn
from sr_lightning.builders.identify_network import suggest_overrides
from sr_lightning.checkpoints.weights import WeightsFile, load_weights
from sr_lightning.errors import UserError
from sr_lightning.models import EDSR, RFDN, NinaSR


def _clipped_rfdn(limit):
    """An RFDN that enlarges by repetition what lies below a limit; above, its output is the limit."""
    eye = torch.eye(3)
    layers = Layers()
    rfdn(layers, torch.rand(1, 3, 15, 15), 2, n=12, blocks=1)
    state = {key: torch.zeros_like(value) for key, value in layers.state.items()}
    state["fea_conv.weight"][:3, :, 1, 1] = eye
    state["B1.c1_d.weight"][:3, :3, 0, 0], state["B1.c1_d.bias"][:3] = eye, -limit  # leaky: 0.05 of it below
    state["B1.c5.weight"][:3, :3, 0, 0] = eye
    state["B1.esa.conv4.bias"][:] = 50.0  # its gate is open
    state["c.0.weight"][:3, :3, 0, 0] = eye
    state["LR_conv.weight"][:3, :3, 1, 1] = -eye
    state["upsampler.0.weight"][:, :3, 1, 1] = eye.repeat_interleave(4, 0)
    return state


def _clipped_edsr(limit):
    """On 0..1 as above; on 0..255 what is added is a step of one level at the mean, steep on 0..1."""
    layers = Layers()
    edsr_basicsr(layers, torch.rand(1, 3, 8, 8), 2, 1.0, blocks=1)
    state = {key: torch.zeros_like(value) for key, value in layers.state.items()}
    eye = torch.eye(3)
    state["conv_first.weight"][:3, :, 1, 1] = eye
    state["body.0.conv1.weight"][:3, :3, 1, 1] = eye
    state["body.0.conv1.bias"][:3] = -0.6 if limit == 1 else 1.0
    state["body.0.conv2.weight"][3:6, :3, 1, 1] = eye
    if limit > 1:
        state["body.0.conv1.weight"][3:6, :3, 1, 1] = eye
        state["body.0.conv2.weight"][3:6, 3:6, 1, 1] = -eye
    state["conv_after_body.weight"][:3, 3:6, 1, 1] = -eye
    state["upsample.0.weight"][:12, :3, 1, 1] = eye.repeat_interleave(4, 0)
    state["conv_last.weight"][:, :3, 1, 1] = eye
    return state


@pytest.mark.parametrize("limit", [1.0, 255.0])
@pytest.mark.parametrize("make", [_clipped_rfdn, _clipped_edsr])
@torch.no_grad()
def test_the_range_of_values_is_read_from_what_the_network_does(tmp_path, caplog, make, limit):
    """Files of the same names exist for 0..1 and for 0..255; read wrongly they gave 7.9 dB on Set5 without a word."""
    caplog.set_level("INFO")
    torch.save(make(limit), tmp_path / "official.pth")
    net = RFDN(2, n_feats=12, n_blocks=1) if make is _clipped_rfdn else EDSR(2, n_feats=6, n_resblocks=1)
    load_weights(net, tmp_path / "official.pth")
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(net(x), F.interpolate(x, scale_factor=2), atol=0.01, rtol=0)
    assert f"from 0 to {limit:.0f}: its output then agrees" in caplog.text
    assert "Likely causes" not in caplog.text


def test_third_party_weights_that_make_no_image_are_told_loudly(tmp_path, caplog):
    state = _clipped_edsr(255.0)
    state["conv_last.bias"] += 2000.0
    torch.save(state, tmp_path / "official.pth")
    load_weights(EDSR(2, n_feats=6, n_resblocks=1), tmp_path / "official.pth")
    assert "Likely causes: another range of values (0..1 or 0..255), order of colours (RGB or BGR)" in caplog.text


def test_another_mean_is_refused_unless_the_network_has_it(tmp_path):
    """RCAN's authors have a second mean, that of DIV2K and Flickr2K."""
    layers, mean = Layers(), (0.4690, 0.4490, 0.4036)
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        layers.shift(torch.zeros(1, 3, 1, 1), name, sign, mean=mean)
    edsr(layers, torch.rand(1, 3, 4, 4), 2, 1.0)
    torch.save(layers.state, tmp_path / "a.pth")
    with pytest.raises(
        UserError, match=r"other settings \(1\): model\.rgb_mean=\[0\.469, 0\.449, 0\.4036\], the network has"
    ):
        load_weights(EDSR(2, n_feats=6, n_resblocks=2), tmp_path / "a.pth")
    load_weights(EDSR(2, n_feats=6, n_resblocks=2, rgb_mean=mean), tmp_path / "a.pth")
    assert "'model.rgb_mean=[0.469,0.449,0.4036]'" in suggest_overrides(WeightsFile.read(tmp_path / "a.pth"))


@torch.no_grad()
def test_a_mean_shift_that_was_trained_gives_the_same_function(tmp_path):
    """RCAN sets `requires_grad` of the module, which freezes nothing."""
    layers, x = Layers(), torch.rand(1, 3, 9, 8, generator=torch.Generator().manual_seed(1))
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        layers.shift(torch.zeros(1, 3, 1, 1), name, sign)
        layers.state[f"{name}.weight"] += layers.draw("noise", 3, 3, 1, 1, std=0.05)
        layers.state[f"{name}.bias"] += layers.draw("more", 3, std=3.0)
    del layers.state["noise"], layers.state["more"]
    expected = edsr(layers, x, 2, 1.0)
    torch.save(layers.state, tmp_path / "a.pth")
    weight, bias = (layers.state[f"sub_mean.{kind}"].double() for kind in ("weight", "bias"))
    mean = -(weight.view(3, 3).inverse() @ bias) / 255
    net = EDSR(2, n_feats=6, n_resblocks=2, rgb_mean=mean.tolist())
    load_weights(net, tmp_path / "a.pth")
    agree(net(x), expected)


@pytest.mark.parametrize("value", [torch.zeros(3, 3, 1, 1), torch.ones(1, 1, 1, 1)], ids=["singular", "grey"])
def test_a_mean_shift_that_cannot_be_folded_is_refused(tmp_path, value):
    layers = Layers()
    edsr(layers, torch.rand(1, 3, 4, 4), 2, 1.0)
    torch.save(layers.state | {"sub_mean.weight": value}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: sub_mean and add_mean: allowed: 1x1 convolutions of RGB"):
        load_weights(EDSR(2, n_feats=6, n_resblocks=2), tmp_path / "a.pth")
    assert suggest_overrides(WeightsFile.read(tmp_path / "a.pth")) is None


def test_ninasrs_means_are_checked(tmp_path):
    layers = Layers()
    ninasr(layers, torch.rand(1, 3, 4, 4), 2)
    layers.state["head.0.bias"] = layers.state["head.0.bias"] * 2
    torch.save(layers.state, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"head\.0\.bias and tail\.2\.bias"):
        load_weights(NinaSR(2, n_feats=8, n_resblocks=3), tmp_path / "a.pth")
