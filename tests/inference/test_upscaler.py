"""Large images tile by tile: the whole image's result, for every network, setting and precision, on a GPU too."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers.tiles import enlarged, levels, rgb_network, whole
from sr_lightning.errors import FailedError, UserError
from sr_lightning.image.color import dihedral, to_uint8
from sr_lightning.inference.predict import super_resolve
from sr_lightning.inference.tile_grid import TileGrid, inside, original_part, transformed_part
from sr_lightning.inference.upscaler import Upscaler
from sr_lightning.models import IMDN, RCAN, SwinIR


@pytest.mark.parametrize("tile", [16, 23, 64, "auto", None])
def test_tiles_give_the_whole_images_result(tiny, image, tile):
    for net in (tiny, rgb_network()):
        lr = levels(image)
        np.testing.assert_allclose(enlarged(net, lr, tile=tile), whole(net, lr), atol=1e-6, rtol=0)


def test_a_network_with_windows(image):
    torch.manual_seed(0)
    net = SwinIR(2, n_feats=12, n_blocks=1, n_layers=2, n_heads=2).eval()
    lr = levels(image, 19, 85)
    for self_ensemble in (False, True):
        plain, tiled = (enlarged(net, lr, tile=tile, self_ensemble=self_ensemble) for tile in (None, 16))
        np.testing.assert_allclose(tiled, plain, atol=1e-5, rtol=0)


def test_self_ensemble_is_that_of_evaluation(tiny, image):
    lr = levels(image)
    x = torch.tensor(lr).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = super_resolve(tiny, x, 2, self_ensemble=True)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(enlarged(tiny, lr, tile=32, self_ensemble=True), expected, atol=2e-6, rtol=0)


def test_back_projection_is_tiled_too_and_makes_the_result_shrink_to_its_input(tiny, image):
    lr = levels(image)
    plain, tiled = (enlarged(tiny, lr, tile=tile, back_projection=2) for tile in (None, 32))
    np.testing.assert_allclose(tiled, plain, atol=2e-6, rtol=0)
    from fractions import Fraction

    from sr_lightning.image.resize import resize

    def error(sr):
        shrunken = resize(torch.tensor(sr).permute(2, 0, 1), Fraction(1, 2))
        return float((shrunken - torch.tensor(lr).permute(2, 0, 1) / 255).square().mean())

    assert error(tiled) < error(enlarged(tiny, lr)) / 5


def test_levels_are_those_that_evaluation_would_save(tiny, image):
    lr = levels(image)
    saved = to_uint8(torch.tensor(whole(tiny, lr))).numpy()
    difference = np.abs(enlarged(tiny, lr, np.uint8, tile=32).astype(int) - saved)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3
    wide = enlarged(tiny, lr.astype(np.uint16) * 257, np.uint16, tile=32)
    assert np.abs(np.round(wide / 257) - saved).max() <= 1


@pytest.mark.parametrize("code", range(8))
def test_grids_of_transformed_images(code):
    grid = TileGrid(31, 45, 10, margin=3, step=4)
    for rows in grid.rows():
        for columns in grid.columns():
            own = transformed_part((rows, columns), (31, 45), code)
            numbers = torch.arange(31 * 45).view(31, 45)
            assert torch.equal(dihedral(numbers[rows, columns], code), dihedral(numbers, code)[own])
            assert original_part(own, (31, 45), code) == (rows, columns)
            window = grid.transformed(code).window(own)
            size = (45, 31) if code & 4 else (31, 45)
            for seen, part, n in zip(window, own, size, strict=True):
                assert seen.start % 4 == 0
                assert seen.start <= max(0, part.start - 3)
                assert min(n, part.stop + 3) <= seen.stop <= n
            inner = inside(own, window, 1)
            assert torch.equal(dihedral(numbers, code)[window][inner], dihedral(numbers, code)[own])


def test_all_windows_of_a_grid_have_one_shape():
    grid = TileGrid(1000, 777, 256, margin=19)
    shapes = {
        tuple(s.stop - s.start for s in grid.window((rows, columns)))
        for rows in grid.rows()
        for columns in grid.columns()
    }
    assert len(shapes) == 1
    assert max(*shapes) <= 256 + 2 * 19


@pytest.mark.parametrize("network", [RCAN, IMDN])
def test_networks_that_see_everything(network, image):
    torch.manual_seed(0)
    net = network(2, n_feats=16, n_groups=1, n_blocks=1) if network is RCAN else network(2, n_feats=16)
    net, lr = net.eval(), levels(image)
    np.testing.assert_allclose(enlarged(net, lr), whole(net, lr), atol=5e-6, rtol=0)
    with pytest.raises(UserError, match="depends on the whole image"):
        enlarged(net, lr, tile=32)
    upscaler = Upscaler(net, 2, tile=32, overlap=8)
    blended = np.concatenate(list(upscaler.rows(lr, np.float32)))
    assert blended.shape == (140, 180, 3)
    (note,) = upscaler.notes.values()
    assert note == f"{network.__name__} sees whole images: tiles of 32 LR pixels, blended over 16"


class Constant(nn.Module):
    """Its result depends on the whole image's mean: the same everywhere."""

    channels, scales = 3, (2,)

    def forward(self, x):
        return x.mean((2, 3), keepdim=True).expand(-1, -1, 2 * x.shape[2], 2 * x.shape[3])


def test_blending_is_a_weighted_mean_that_sums_to_one_and_changes_slowly(image):
    flat = np.full((70, 90, 3), 100, np.uint8)
    np.testing.assert_allclose(enlarged(Constant(), flat, tile=32, overlap=8), 100 / 255, atol=1e-6)
    for tile, overlap, side in ((64, 32, 150), (16, 32, 129), (32, 0, 70)):  # equal parts may be smaller than tiles
        wide = np.full((40, side, 3), 100, np.uint8)
        np.testing.assert_allclose(enlarged(Constant(), wide, tile=tile, overlap=overlap), 100 / 255, atol=1e-6)
    ramp = np.repeat(np.linspace(0, 255, 90).astype(np.uint8)[None, :, None], 70, 0).repeat(3, 2)
    result = enlarged(Constant(), ramp, tile=32, overlap=8)[..., 0]
    steps = np.abs(np.diff(result, axis=1)).max()
    assert steps < np.ptp(result) / 32  # 2 x 8 LR pixels, 32 SR pixels for a step between neighbours
    assert np.abs(np.diff(result, axis=0)).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "value"),
    [("tile", 0), ("tile", "whole"), ("overlap", -1), ("precision", "bfloat16"), ("back_projection", -1)],
)
def test_settings_that_do_not_exist_are_refused(tiny, name, value):
    """`bfloat16` gave float32, and a tile of 0 a division by zero."""
    with pytest.raises(UserError, match=f"{name}: found {value!r}, allowed: "):
        Upscaler(tiny, 2, **{name: value})


def test_an_overlap_that_is_too_small_is_told(tiny, image):
    upscaler = Upscaler(tiny, 2, tile=32, overlap=1)
    list(upscaler.rows(levels(image), np.uint8))
    (note,) = upscaler.notes.values()
    assert "tiles overlap by 1 LR pixels, but EDSR sees" in note


class Overflows(nn.Module):
    """Not finite in bfloat16, where 1 + 1/512 is 1."""

    channels, scales = 3, (2,)

    def forward(self, x):
        tiny = nn.functional.conv2d(x.new_ones(1, 1, 1, 1), x.new_full((1, 1, 1, 1), 1 + 1 / 512)) - 1
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3) + 0 / tiny


def test_a_tile_that_is_not_finite_in_bf16_is_done_again_in_float32(image):
    lr = levels(image)
    expected = lr.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(enlarged(Overflows(), lr, np.uint8, precision="bf16"), expected)

    class Broken(nn.Module):
        channels, scales = 3, (2,)

        def forward(self, x):
            return x.repeat(1, 1, 2, 2) * float("nan")

    with pytest.raises(FailedError, match="Broken makes values that are not finite"):
        enlarged(Broken(), lr, np.uint8)


@pytest.mark.gpu
@pytest.mark.parametrize("tile", [16, 64, "auto", None])
def test_tiles_on_a_gpu_give_the_cpus_whole_image(image, device, tile):
    lr, net = levels(image), rgb_network()
    expected = whole(net, lr)
    np.testing.assert_allclose(enlarged(net, lr, tile=tile, device=device), expected, atol=5e-5, rtol=0)


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "most"), [("float32", 1), ("bf16", 6), ("auto", 6)])
def test_levels_on_a_gpu_as_users_compute_them(tiny, image, device, precision, most):
    lr = levels(image)
    expected = enlarged(tiny, lr, np.uint8).astype(int)
    found = enlarged(Upscaler(tiny, 2).on(device).net, lr, np.uint8, tile=32, device=device, precision=precision)
    difference = np.abs(found - expected)
    assert difference.max() <= most
    assert difference.mean() < 0.2
