"""Networks against their papers: sizes, parameter counts, a gradient for every parameter, precision."""

import pytest
import torch
from torch import nn

from sr_lightning.errors import UserError
from sr_lightning.image.color import rgb_to_ycbcr
from sr_lightning.image.resize import resize
from sr_lightning.models import (
    EDSR,
    ESPCN,
    FSRCNN,
    IMDN,
    MDSR,
    RCAN,
    RDN,
    RFDN,
    SPAN,
    SRCNN,
    VDSR,
    Bicubic,
    MSRResNet,
    NinaSR,
    RRDBNet,
    SRResNet,
    SwinIR,
)
from sr_lightning.models.blocks import DIV2K_MEAN, enlarge
from sr_lightning.models.span import MergedConv

SMALL = {
    "edsr": lambda s: EDSR(s, n_feats=8, n_resblocks=2),
    "edsr_nearest_conv": lambda s: EDSR(s, n_feats=8, n_resblocks=1, upsampler="nearest_conv"),
    "edsr_bicubic": lambda s: EDSR(s, n_feats=8, n_resblocks=1, upsampler="bicubic"),
    "edsr_direct": lambda s: EDSR(s, n_feats=8, n_resblocks=1, upsampler="pixelshuffle_direct"),
    "edsr_skip": lambda s: EDSR(s, n_feats=8, n_resblocks=1, global_skip="bicubic"),
    "edsr_y": lambda s: EDSR(s, n_feats=8, n_resblocks=1, channels=1),
    "mdsr": lambda s: MDSR(s, n_feats=8, n_resblocks=2),
    "espcn": ESPCN,
    "fsrcnn": FSRCNN,
    "srcnn": SRCNN,
    "vdsr": lambda s: VDSR(s, n_feats=8, n_layers=4),
    "srresnet": lambda s: SRResNet(s, n_feats=8, n_resblocks=2),
    "msrresnet": lambda s: MSRResNet(s, n_feats=8, n_resblocks=2),
    "rdn": lambda s: RDN(s, n_feats=8, n_blocks=2, n_layers=2, growth=8),
    "rcan": lambda s: RCAN(s, n_feats=16, n_groups=2, n_blocks=2, reduction=2),
    "rrdb": lambda s: RRDBNet(s, n_feats=8, n_blocks=1, growth=4),
    "imdn": lambda s: IMDN(s, n_feats=32, n_blocks=2),
    "rfdn": lambda s: RFDN(s, n_feats=16, n_blocks=2),
    "span": lambda s: SPAN(s, n_feats=8),
    "ninasr": lambda s: NinaSR(s, n_feats=16, n_resblocks=3),
    "swinir": lambda s: SwinIR(s, n_feats=12, n_blocks=2, n_layers=2, n_heads=3),
}


def count(net):
    return sum(p.numel() for p in net.parameters())


def test_edsr_on_y():
    """Its count in closed form, and the mean of DIV2K's Y."""
    net = EDSR(4, n_feats=16, n_resblocks=5, channels=1, upsampler="pixelshuffle_direct")
    assert count(net) == (9 + 1) * 16 + 11 * (9 * 16 + 1) * 16 + (9 * 16 + 1) * 16
    assert float(net.mean) == pytest.approx(float(rgb_to_ycbcr(torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1))[0, 0]))
    with pytest.raises(UserError, match=r"model\.channels: found 2"):
        EDSR(4, channels=2)


def test_a_recursive_edsr_is_a_deeper_one_whose_blocks_are_equal():
    recursive = EDSR(2, n_feats=8, n_resblocks=2, n_recursions=3)
    deep = EDSR(2, n_feats=8, n_resblocks=6)
    assert count(recursive) == count(EDSR(2, n_feats=8, n_resblocks=2))
    state = recursive.state_dict()
    unrolled = {key: value for key, value in state.items() if not key.startswith("body")}
    unrolled |= {key.replace("body.2.", "body.6."): value for key, value in state.items() if "body.2." in key[:7]}
    for index in range(6):
        block = {key: value for key, value in state.items() if key.startswith(f"body.{index % 2}.")}
        unrolled |= {f"body.{index}.{key.partition('.')[2].partition('.')[2]}": value for key, value in block.items()}
    deep.load_state_dict(unrolled)
    x = torch.rand(1, 3, 9, 11)
    torch.testing.assert_close(recursive(x), deep(x))
    with pytest.raises(UserError, match=r"model\.n_recursions: found 0"):
        EDSR(2, n_recursions=0)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        # Lim et al. 2017, table 1 (1.5 M, 43 M, 8.0 M) and the released networks' exact counts.
        (lambda: EDSR(2), 1_369_859),
        (lambda: EDSR(3), 1_554_499),
        (lambda: EDSR(4), 1_517_571),
        (lambda: EDSR(2, n_feats=256, n_resblocks=32, res_scale=0.1), 40_729_603),
        (lambda: EDSR(3, n_feats=256, n_resblocks=32, res_scale=0.1), 43_680_003),
        (lambda: EDSR(4, n_feats=256, n_resblocks=32, res_scale=0.1), 43_089_923),
        (lambda: MDSR([2, 3, 4]), 7_953_987),
        (lambda: MDSR([2, 3, 4], n_resblocks=16), 3_227_203),
        # With biases; the tables of later papers print 665 K, its kernels alone (below).
        (lambda: VDSR(4), 665_921),
        # Known from the released code; RCAN's and EDSR's there hold 24 more, which never change: the mean's shift.
        (lambda: SRResNet(4), 1_549_462),
        (lambda: MSRResNet(4), 1_517_571),
        (lambda: RDN(4), 22_271_107),
        (lambda: RCAN(4), 15_592_379 - 24),
        (lambda: RRDBNet(4), 16_697_987),
        # Hui et al. 2019, table 5 (694 K, 703 K, 715 K) and the released code.
        (lambda: IMDN(2), 694_404),
        (lambda: IMDN(3), 703_059),
        (lambda: IMDN(4), 715_176),
        (lambda: RFDN(4), 433_448),
        (lambda: SwinIR(2), 910_152),
        (lambda: SwinIR(4), 929_628),
    ],
)
def test_parameters_equal_the_papers_or_the_released_networks(make, expected):
    with torch.device("meta"):
        assert count(make()) == expected


def test_weights_of_the_y_only_networks():
    """The papers count kernels only: SRCNN 8,032 (9-1-5) and 57,184 (9-5-5); FSRCNN 12,464 (with 4 mappings)."""

    def kernels(net):
        return sum(p.numel() for p in net.parameters() if p.dim() == 4)

    assert kernels(SRCNN()) == 9 * 9 * 64 + 64 * 32 + 5 * 5 * 32 == 8_032
    assert kernels(SRCNN(kernel_sizes=(9, 5, 5))) == 57_184
    assert kernels(FSRCNN(3)) == 25 * 56 + 56 * 12 + 4 * 9 * 12 * 12 + 12 * 56 + 81 * 56 == 12_464
    # Shi et al. 2016, section 3.2: l = 3, (5, 64), (3, 32), (3, r²)
    assert kernels(VDSR(4)) == 9 * 64 + 18 * 9 * 64 * 64 + 9 * 64 == 664_704
    assert kernels(ESPCN(3)) == 25 * 64 + 9 * 64 * 32 + 9 * 32 * 9


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("name", list(SMALL))
def test_size_and_a_gradient_for_every_parameter(name, scale):
    torch.manual_seed(0)
    net = SMALL[name](scale)
    x = torch.rand(2, net.channels, 15, 18)
    y = net(x)
    assert y.shape == (2, net.channels, 15 * scale, 18 * scale)
    assert net.scales == (scale,)
    if name == "edsr_skip":
        nn.init.normal_(net.tail[-1].weight, std=0.1)  # starts at zero, which would hide the others
    net(x).square().mean().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_papers_round_counts():
    """SPAN counts its merged convolutions (Wan et al. 2024, table 2: 481 K, 498 K; SPAN-S 411 K, 426 K)."""
    with torch.device("meta"):
        for n_feats, scale, thousands in ((52, 2, 481), (52, 4, 498), (48, 2, 411), (48, 4, 426)):
            net = SPAN(scale, n_feats=n_feats)
            merged = [layer for layer in net.modules() if isinstance(layer, MergedConv)]
            spared = sum(count(layer) - sum(part.numel() for part in layer.merged()) for layer in merged)
            assert round((count(net) - spared) / 1000) == thousands
        assert round(count(NinaSR(2)) / 1e6, 1) == 0.1
        assert round(count(NinaSR(4, n_feats=32, n_resblocks=26)) / 1e6, 1) == 1.0


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_bicubic_is_the_projects_bicubic(scale):
    x = torch.rand(1, 3, 9, 14, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Bicubic(scale)(x), resize(x, scale), atol=1e-5, rtol=0)
    assert count(Bicubic(scale)) == 0
    x.requires_grad_()
    enlarge(x, scale).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("name", list(SMALL))
def test_bf16_stays_close_to_float32(name):
    torch.manual_seed(0)
    net = SMALL[name](2).eval()
    x = torch.rand(1, net.channels, 16, 16)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        low = net(x).float()
    with torch.no_grad():
        exact = net(x)
    assert (low - exact).norm() < 0.02 * exact.norm()


def test_what_cannot_be_built_is_refused():
    with pytest.raises(UserError, match=r"model\.scale: found 5, allowed: 2, 3, 4, 8"):
        EDSR(5)
    with pytest.raises(UserError, match=r"model\.activation: found 'swish'"):
        EDSR(2, activation="swish")
    with pytest.raises(UserError, match=r"model\.upsampler: found 'deconv'"):
        EDSR(2, upsampler="deconv")
    with pytest.raises(UserError, match=r"SRCNN has 3 kernel_sizes"):
        SRCNN(2, kernel_sizes=(9, 5))
    with pytest.raises(UserError, match=r"kernel of 4, allowed: odd"):
        SRCNN(2, kernel_sizes=(9, 4, 5))
    with pytest.raises(UserError, match=r"model\.scales: found none"):
        MDSR([])
