"""Tiles give the whole image's result, and where they cannot the user is told."""

import pytest
import torch
from torch import nn

from sr_lightning.errors import UserError
from sr_lightning.inference.predict import super_resolve
from sr_lightning.inference.tiling import receptive_field, receptive_radius, super_resolve_tiled
from sr_lightning.models import EDSR, ESPCN, IMDN, RFDN, VDSR, Bicubic, NinaSR, RRDBNet, SwinIR


def convolutions(*kernels, scale=2):
    """A stack whose receptive field is known: each kernel adds the half of its side."""
    layers = [nn.Conv2d(3, 3, (3, kernel), padding=(1, kernel // 2)) for kernel in kernels]
    last = nn.Conv2d(3, 3 * scale**2, 1)
    return nn.Sequential(*layers, last, nn.PixelShuffle(scale))


class Mean(nn.Module):
    def forward(self, x):
        return nn.functional.interpolate(x - x.mean((-2, -1), keepdim=True), scale_factor=2)


NETWORKS = {
    "edsr": (lambda: EDSR(2, n_feats=4, n_resblocks=1), 2),
    "edsr_bicubic": (lambda: EDSR(4, n_feats=4, n_resblocks=1, global_skip="bicubic"), 4),
    "espcn": (lambda: ESPCN(3), 3),  # works on Y
    "swinir": (lambda: SwinIR(2, n_feats=6, n_blocks=1, n_layers=2, n_heads=3), 2),
    "ninasr": (lambda: NinaSR(2, n_feats=4, n_resblocks=1), 2),
}


@pytest.fixture(params=list(NETWORKS))
def case(request):
    make, scale = NETWORKS[request.param]
    torch.manual_seed(0)
    net = make().eval()
    for name, parameter in net.named_parameters():
        if not parameter.any():  # layers that start at zero would hide those before them
            nn.init.normal_(parameter, std=0.1)
        if name.endswith("attention.bias"):
            nn.init.normal_(parameter)
    return net, scale


@torch.inference_mode()
@pytest.mark.fault("I1", "within 1e-6")
def test_tiles_give_the_whole_images_result(case):
    net, scale = case
    lr = torch.rand(2, 3, 41, 67, generator=torch.Generator().manual_seed(1))
    whole = super_resolve(net, lr, scale)
    for tile in (20, 66, 100):  # a rest of 1 row; of 1 column; larger than the image
        tiled = super_resolve_tiled(net, lr, scale, tile=tile)
        assert (tiled - whole).abs().max() <= 1e-6, tile


@torch.inference_mode()
@pytest.mark.fault("I1", "the overlap is what it takes")
def test_without_an_overlap_tiles_show():
    torch.manual_seed(0)
    net, lr = convolutions(3, 3), torch.rand(1, 3, 30, 31)
    whole = super_resolve(net, lr, 2)
    assert (super_resolve_tiled(net, lr, 2, tile=8, overlap=0) - whole).abs().max() > 1e-2
    assert (super_resolve_tiled(net, lr, 2, tile=8, overlap=2) - whole).abs().max() <= 1e-6


@pytest.mark.parametrize(
    ("net", "scale", "expected"),
    [
        (convolutions(1), 2, 0),
        (convolutions(3, 5, 7), 2, 1 + 2 + 3),
        (convolutions(301), 2, 150),
        (Bicubic([2, 3, 4]), 3, 2),
        (ESPCN(4), 4, 2 + 1 + 1),
        # Head, two in the block, body, sub-pixel; the last one reaches the neighbour at high resolution.
        (EDSR(2, n_feats=4, n_resblocks=1), 2, 1 + 2 + 1 + 1 + 1),
        # Head, five in each of three dense blocks, body; four at two and four times the size reach 2 more. Gradients
        # through so many layers vanish, which must not hide the farthest.
        (RRDBNet(4, n_feats=4, n_blocks=4, growth=2), 4, 1 + 4 * 3 * 5 + 1 + 2),
        # 4 convolutions on the image enlarged 4 times reach 4 pixels, bicubic 2.5 LR pixels from there.
        (VDSR(4, n_feats=4, n_layers=4), 4, 3),
        (Mean(), 2, None),
        (IMDN(2, n_feats=16, n_blocks=1), 2, None),
    ],
)
def test_receptive_radius(net, scale, expected):
    assert receptive_radius(net, scale) == expected


def test_what_is_zero_now_counts_as_well():
    net = convolutions(3, 5)
    nn.init.zeros_(net[1].weight)
    assert receptive_radius(net, 2) == 3
    assert receptive_field(net, 2) == 7


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: IMDN(2, n_feats=16, n_blocks=1), "whole image"),
        (lambda: RFDN(2, n_feats=8, n_blocks=1), "image's size"),  # resamples features to the image's size
    ],
)
@torch.inference_mode()
def test_networks_that_tiles_change_need_an_overlap_that_is_named(make, reason):
    torch.manual_seed(1)  # with some weights so few features are all rectified away, and tiles change nothing
    net = make().eval()
    lr = torch.rand(1, 3, 40, 40)
    with pytest.raises(UserError, match=reason):
        super_resolve(net, lr, 2, tile=24)
    assert super_resolve(net, lr, 2, tile=24, overlap=8).shape == (1, 3, 80, 80)
    assert torch.equal(super_resolve(net, lr, 2, tile=40), super_resolve(net, lr, 2))  # one tile is no tile


def test_measuring_leaves_the_network_as_it_is():
    net = EDSR(2, n_feats=4, n_resblocks=1).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    receptive_radius(net, 2)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("wrong", [{"tile": 0}, {"tile": 8, "overlap": -1}])
def test_wrong_sizes_are_refused(wrong):
    with pytest.raises(UserError, match="allowed"):
        super_resolve_tiled(convolutions(3), torch.rand(1, 3, 9, 9), 2, **wrong)
