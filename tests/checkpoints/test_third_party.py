"""Third-party networks, run by spandrel behind our interface."""

import sys

import pytest
import torch

from sr_lightning.checkpoints.third_party import load_third_party
from sr_lightning.checkpoints.weights import WeightsFile
from sr_lightning.errors import UserError
from sr_lightning.inference.predict import super_resolve
from sr_lightning.models import EDSR

pytest.importorskip("spandrel", reason="needs the optional extra spandrel")
pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")


def compact(scale=4, channels=3):
    from spandrel.architectures.Compact import Compact

    return Compact(num_in_ch=channels, num_out_ch=channels, num_feat=8, num_conv=2, upscale=scale)


def swinir():
    """The classical network, which is none of ours."""
    from spandrel.architectures.SwinIR import SwinIR

    return SwinIR(
        img_size=16,
        embed_dim=12,
        depths=[2],
        num_heads=[2],
        window_size=8,
        mlp_ratio=2,
        upscale=2,
        img_range=1.0,
        upsampler="pixelshuffle",
    )


def folded():
    """Real-ESRGAN's network for x2: it takes sizes that are multiples of 4 only."""
    from spandrel.architectures.ESRGAN import ESRGAN

    return ESRGAN(in_nc=12, out_nc=3, num_filters=8, num_blocks=1, scale=4, shuffle_factor=2)


@pytest.mark.parametrize(
    ("make", "scale", "wrap"),
    [
        (compact, 4, dict),
        (compact, 4, lambda state: {"params": state}),
        (compact, 4, lambda state: {f"module.{key}": value for key, value in state.items()}),
        (swinir, 2, lambda state: {"params_ema": state, "params": {}}),
        (folded, 2, lambda state: {"state_dict": {f"net_g.{key}": value for key, value in state.items()}}),
    ],
)
@torch.no_grad()
def test_a_file_gives_its_network(tmp_path, make, scale, wrap):
    torch.manual_seed(0)
    theirs = make().eval()
    torch.save(wrap(theirs.state_dict()), tmp_path / "a.pth")
    net = load_third_party(WeightsFile.read(tmp_path / "a.pth"))
    assert (net.scales, net.channels, net.training) == ((scale,), 3, False)
    assert sum(p.numel() for p in net.parameters()) == sum(p.numel() for p in theirs.parameters())
    x = torch.rand(2, 3, 16, 20)
    torch.testing.assert_close(net(x), theirs(x.clone()).clamp(0, 1))
    odd = torch.rand(1, 3, 17, 21)
    filled = torch.nn.functional.pad(odd, (0, 3, 0, 3), "reflect")  # to multiples of 4
    expected = (theirs(filled) if make is folded else theirs(odd.clone())).clamp(0, 1)
    torch.testing.assert_close(super_resolve(net, odd, scale), expected[..., : 17 * scale, : 21 * scale])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: compact(scale=1), "made for Restoration, allowed: super-resolution"),
        (lambda: compact(channels=1), r"makes 1 channels of 1, allowed: 3 of 3 \(RGB\)"),
        (lambda: EDSR(2, n_feats=4, n_resblocks=1), r"spandrel does not know the network; its names begin with 'head"),
    ],
)
def test_what_is_no_super_resolution_of_rgb_is_refused(tmp_path, make, reason):
    torch.save(make().state_dict(), tmp_path / "a.pth")
    with pytest.raises(UserError, match=rf"a\.pth: .*{reason}"):
        load_third_party(WeightsFile.read(tmp_path / "a.pth"))


def test_a_file_that_only_looks_like_a_network_is_named(tmp_path):
    state = compact().state_dict()
    state["body.2.weight"] = torch.zeros(3, 5, 3, 3)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: looks like a network that spandrel knows, but is not"):
        load_third_party(WeightsFile.read(tmp_path / "a.pth"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: (100 * v).to(torch.int8), r"does not fit RealESRGAN Compact\s+numbers of another kind"),
        (lambda v: v * torch.nan, "holds weights that are not finite"),
    ],
)
def test_third_party_weights_that_are_no_finite_floats_are_refused(tmp_path, change, said):
    torch.save({key: change(value) for key, value in compact().state_dict().items()}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=rf"a\.pth: {said}"):
        load_third_party(WeightsFile.read(tmp_path / "a.pth"))


def test_without_spandrel_the_extra_is_named(tmp_path, monkeypatch):
    torch.save(compact().state_dict(), tmp_path / "a.pth")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(UserError, match=r"pip install 'sr_lightning\[spandrel\]'"):
        load_third_party(WeightsFile.read(tmp_path / "a.pth"))
