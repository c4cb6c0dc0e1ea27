"""What networks are before training: skips that start as bicubic, variances, nothing explodes or fades."""

import pytest
import torch
from torch import nn

from sr_lightning.image.resize import resize
from sr_lightning.models import EDSR, FSRCNN, MDSR, SRCNN
from sr_lightning.models.initialisation import icnr_, kaiming_


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_global_skip_starts_as_bicubic(scale):
    x = torch.rand(1, 3, 12, 12)
    net = EDSR(scale, n_feats=8, n_resblocks=2, global_skip="bicubic")
    torch.testing.assert_close(net(x), resize(x, scale), atol=1e-5, rtol=0)


def test_residual_scaling():
    torch.manual_seed(0)
    block = EDSR(2, n_feats=8, n_resblocks=1, res_scale=0.1).body[0]
    x = torch.rand(1, 8, 5, 5)
    torch.testing.assert_close(block(x), x + 0.1 * block.body(x))


@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_kaiming_variance(slope):
    """He et al. 2015, eq. 15: variance 2 / ((1 + a²) · fan-in)."""
    torch.manual_seed(0)
    layer = kaiming_(nn.Conv2d(64, 256, 3), negative_slope=slope)
    assert layer.weight.var().item() == pytest.approx(2 / ((1 + slope**2) * 64 * 9), rel=0.02)
    assert layer.bias.abs().sum() == 0


def test_a_deep_residual_network_neither_explodes_nor_fades():
    """Found with MDSR's 80 blocks, whose first loss was 10^16."""
    torch.manual_seed(0)
    net = MDSR(2, n_feats=32, n_resblocks=80)
    x = torch.randn(1, 32, 16, 16)
    for block in net.body[:-1]:
        y = block(x)
        assert 0.9 < y.std() / x.std() < 1.1
        x = y
    assert 0.5 < x.std() < 3
    assert net(torch.rand(1, 3, 16, 16)).abs().max() < 3


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_icnr_starts_as_nearest_neighbour_enlargement(scale):
    torch.manual_seed(0)
    convolution = icnr_(nn.Conv2d(8, 3 * scale**2, 3, padding=1), scale)
    y = nn.PixelShuffle(scale)(convolution(torch.rand(1, 8, 6, 6)))
    blocks = y.unfold(2, scale, scale).unfold(3, scale, scale).flatten(-2)  # (1, 3, 6, 6, s²)
    torch.testing.assert_close(blocks, blocks[..., :1].expand_as(blocks))
    assert y.std() > 0.1


def test_gaussian_initialisation_of_the_papers():
    torch.manual_seed(0)
    assert FSRCNN(4).deconvolution.weight.std().item() == pytest.approx(1e-3, rel=0.05)
    for layer in SRCNN(4, init="gaussian").body[::2]:
        assert layer.weight.std().item() == pytest.approx(1e-3, rel=0.1)
