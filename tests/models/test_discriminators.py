"""Discriminators against their papers: parameters, sizes, spectral norm."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sr_lightning.models.discriminators import UNetDiscriminator, VGGDiscriminator


def count(net):
    return sum(p.numel() for p in net.parameters())


def test_parameters():
    with torch.device("meta"):
        # Ledig et al. 2017, fig. 4: kernels, scale and shift of each normalisation, dense layers.
        widths = [64, 64, 128, 128, 256, 256, 512, 512]
        kernels = sum(9 * n_in * n_out for n_in, n_out in zip([3, *widths[:-1]], widths, strict=True))
        dense = 512 * 6 * 6 * 1024 + 1024 + 1024 + 1
        assert count(VGGDiscriminator()) == kernels + widths[0] + 2 * sum(widths[1:]) + dense == 23_563_649
        # With spectral norm a bias stands for the normalisation.
        assert count(VGGDiscriminator(spectral_norm=True)) == kernels + sum(widths) + dense
        # The released network of Wang et al. 2021.
        assert count(UNetDiscriminator()) == count(UNetDiscriminator(spectral_norm=False)) == 4_376_897


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize(("make", "sizes"), [(VGGDiscriminator, (32, 49)), (UNetDiscriminator, (8, 30))])
def test_every_size_from_the_least_on_and_a_gradient_for_every_parameter(make, sizes, spectral_norm):
    torch.manual_seed(0)
    small = {"n_feats": 4} | ({"n_dense": 8} if make is VGGDiscriminator else {})
    net = make(**small, spectral_norm=spectral_norm)
    assert net.min_size == sizes[0]
    for side in sizes:
        x = torch.rand(1, 3, side, side + 1, requires_grad=True)
        y = net(x)
        assert y.shape == ((1, 1) if make is VGGDiscriminator else (1, 1, side, side + 1))
        net.zero_grad()
        y.square().sum().backward()
        assert x.grad.abs().sum() > 0
        for name, parameter in net.named_parameters():
            assert parameter.grad.abs().sum() > 0, name


def test_nothing_is_pooled_at_the_papers_patches():
    net = VGGDiscriminator(n_feats=2, n_dense=4).eval()
    x = torch.rand(2, 3, 96, 96)
    torch.testing.assert_close(net(x), net.verdict(net.features(x)))


def test_the_u_net_is_that_of_the_paper():
    """Written again with plain functions, at a size that three halvings divide."""
    torch.manual_seed(0)
    net = UNetDiscriminator(n_feats=4, spectral_norm=False)
    convs = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0], c.bias is not None) for c in convs] == [
        (3, 4, 3, 1, True),
        (4, 8, 4, 2, False),
        (8, 16, 4, 2, False),
        (16, 32, 4, 2, False),
        (32, 16, 3, 1, False),
        (16, 8, 3, 1, False),
        (8, 4, 3, 1, False),
        (4, 4, 3, 1, False),
        (4, 4, 3, 1, False),
        (4, 1, 3, 1, True),
    ]

    def layer(i, x, act=True):
        y = F.conv2d(x, convs[i].weight, convs[i].bias, stride=convs[i].stride, padding=1)
        return F.leaky_relu(y, 0.2) if act else y

    def twice(x):
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    x = torch.rand(1, 3, 24, 32)
    x0 = layer(0, x)
    x1 = layer(1, x0)
    x2 = layer(2, x1)
    x4 = layer(4, twice(layer(3, x2))) + x2
    x6 = layer(6, twice(layer(5, twice(x4)) + x1)) + x0
    torch.testing.assert_close(net(x), layer(9, layer(8, layer(7, x6)), act=False))


@pytest.mark.parametrize(
    ("net", "normed"),
    [(VGGDiscriminator(n_feats=4, n_dense=8, spectral_norm=True), 10), (UNetDiscriminator(n_feats=4), 8)],
)
def test_the_largest_singular_value_is_one(net, normed):
    layers = [layer for layer in net.modules() if nn.utils.parametrize.is_parametrized(layer)]
    assert len(layers) == normed
    for layer in layers:
        for _ in range(200):
            weight = layer.weight.detach()  # each look is one step of the power method
        largest = np.linalg.svd(weight.flatten(1).numpy(), compute_uv=False)[0]
        assert largest == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("make", [VGGDiscriminator, UNetDiscriminator])
def test_in_bf16_it_is_nearly_the_same(make):
    torch.manual_seed(0)
    net = make(n_feats=8, spectral_norm=True)
    x = torch.rand(2, 3, 48, 48)
    expected = net(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = net(x)
    assert (y.float() - expected).abs().max() < 0.05 * expected.abs().max() + 0.01
