"""Large images of every kind, tile by tile."""

import numpy as np
import pytest
import torch
from skimage import data
from torch import nn

from sr_lightning.builders.load_network import load_network
from sr_lightning.errors import FailedError, UserError
from sr_lightning.image.alpha import spread_colours
from sr_lightning.image.color import dihedral, to_uint8
from sr_lightning.inference.cost import _cpu_peak
from sr_lightning.inference.forward import apply_to_rgb
from sr_lightning.inference.planes import apply_to_planes
from sr_lightning.inference.predict import super_resolve
from sr_lightning.inference.tile_grid import TileGrid, inside, original_part, transformed_part
from sr_lightning.inference.upscaler import Upscaler
from sr_lightning.models import EDSR, IMDN, RCAN, SwinIR


@pytest.fixture(scope="module")
def tiny():
    return load_network("edsr_tiny_y_x2").net


def rgb_network():
    torch.manual_seed(0)
    return EDSR(2, n_feats=8, n_resblocks=2).eval()


def levels(image, height=70, width=90):
    return image(height, width, 0)


def enlarged(net, lr, dtype=np.float32, scale=2, **options):
    return np.concatenate(list(Upscaler(net, scale, **options).rows(lr, dtype)))


def whole(net, lr, scale=2):
    x = torch.tensor(lr).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        return apply_to_rgb(net, x, scale)[0].permute(1, 2, 0).numpy()


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


class Hungry(nn.Module):
    """Has memory for so many LR pixels, and no more."""

    channels, scales = 3, (2,)

    def __init__(self, most, error):
        super().__init__()
        self.inner, self.most, self.error, self.seen = rgb_network(), most, error, []

    def forward(self, x):
        self.seen.append(x.shape[-2:].numel())
        if self.seen[-1] > self.most and x.shape[-2] != 16:  # the strips that measure the receptive field fit
            raise self.error
        return self.inner(x)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_out_of_memory_halves_the_tile(image, error, caplog):
    lr, net = levels(image), Hungry(50 * 50, error)
    upscaler = Upscaler(net, 2)
    result = np.concatenate(list(upscaler.rows(lr, np.float32)))
    np.testing.assert_allclose(result, whole(net.inner, lr), atol=1e-6, rtol=0)
    assert "out of memory: tiles of 22 LR pixels from here on" in caplog.text
    assert upscaler.notes == {"memory": "tiles of 22 LR pixels: larger ones did not fit into memory"}
    tried = sum(size > net.most for size in net.seen)
    list(upscaler.rows(lr, np.float32))
    assert sum(size > net.most for size in net.seen) == tried  # it is remembered


def test_out_of_memory_with_the_smallest_tiles(image):
    with pytest.raises(FailedError, match="out of memory with tiles of"):
        enlarged(Hungry(10, MemoryError()), levels(image))
    with pytest.raises(RuntimeError, match="another"):
        enlarged(Hungry(10, RuntimeError("another")), levels(image))


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


def test_grey_is_the_luma_of_grey_rgb(tiny, image):
    lr = torch.tensor(levels(image)).permute(2, 0, 1)[None, :1] / 255
    with torch.no_grad():
        for net in (tiny, rgb_network()):
            grey = apply_to_planes(net, lr, 2)
            rgb = apply_to_rgb(net, lr.expand(-1, 3, -1, -1), 2)
            weights = torch.tensor([65.481, 128.553, 24.966]).view(3, 1, 1) / 219
            torch.testing.assert_close(grey, (rgb * weights).sum(1, keepdim=True), atol=2e-6, rtol=0)


def star(size):
    """A soft star."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    edge = size * (0.3 + 0.1 * np.cos(5 * angle))
    return np.clip((edge - radius) / 4 + 0.5, 0, 1)


def test_colours_that_are_hidden_do_not_shine_through_at_the_edge():
    """Against straight colour and bicubic alpha, in the band of the edge, over black, grey and white."""
    from skimage.transform import downscale_local_mean, resize

    net = load_network("edsr_tiny_y_x4").net
    photo = data.astronaut()[60:252, 120:312] / 255
    alpha = star(192)
    small_alpha = downscale_local_mean(alpha, (4, 4))
    small = downscale_local_mean(photo, (4, 4, 1)) * (small_alpha > 0)[..., None]  # black where it is hidden
    lr = np.dstack([small, small_alpha]).astype(np.float32)
    ours = enlarged(net, spread_colours(lr), scale=4).clip(0, 1)
    straight = enlarged(net, lr[..., :3].copy(), scale=4).clip(0, 1)
    bicubic = resize(small_alpha, (192, 192), order=3, mode="edge").clip(0, 1)
    band = (alpha > 0) & (alpha < 1)

    def psnr(colour, opacity, background):
        composed, truth = (
            c * a[..., None] + background * (1 - a[..., None]) for c, a in ((colour, opacity), (photo, alpha))
        )
        return -10 * np.log10(np.square(composed - truth)[band].mean())

    for background in (0, 0.5, 1):
        gain = psnr(ours[..., :3], ours[..., 3], background) - psnr(straight, bicubic, background)
        assert gain > 2
    inner = small_alpha.repeat(4, 0).repeat(4, 1)
    assert ours[..., 3][inner == 0][0] == 0
    assert ours[96, 96, 3] == 1
    white = lr.copy()
    white[white[..., 3] == 0, :3] = 1
    np.testing.assert_array_equal(enlarged(net, spread_colours(white), scale=4).clip(0, 1), ours)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_flat_alpha_stays_as_it_is(tiny, image, value):
    lr = np.dstack([levels(image), np.full((70, 90), value, np.uint8)])
    for tile in (None, 32):
        result = enlarged(tiny, lr, np.uint8, tile=tile)
        assert (result[..., 3] == value).all()
        np.testing.assert_array_equal(result[..., :3], enlarged(tiny, lr[..., :3].copy(), np.uint8, tile=tile))


def test_alpha_in_tiles_is_that_of_the_whole_image(tiny, image):
    lr = np.dstack([levels(image), (star(90)[10:80] * 255).astype(np.uint8)])
    plain, tiled = (enlarged(tiny, lr, tile=tile) for tile in (None, 24))
    np.testing.assert_allclose(tiled, plain, atol=1e-6, rtol=0)


# -- on a GPU --------------------------------------------------------------------------------------------


def peak(run, device):
    """Bytes of torch's allocator at most, above what was there."""
    if device.type == "cpu":
        return _cpu_peak(run)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    return torch.cuda.max_memory_allocated(device) - before


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


@pytest.mark.gpu
def test_tiles_take_less_memory_on_a_gpu(image, device):
    lr, net = levels(image, 320, 320), rgb_network()
    small, large = (Upscaler(net, 2, device=device, tile=tile) for tile in (64, None))
    list(small.rows(lr, np.uint8))  # measures the receptive field, once
    memory = [peak(lambda up=up: list(up.rows(lr, np.uint8)), device) for up in (small, large)]
    assert memory[0] < memory[1] / 4


@pytest.mark.gpu
def test_a_gpu_that_is_full_halves_the_tile(image, device):
    """Where the GPU is a CPU, the network says that it is full."""
    torch.manual_seed(0)
    lr, wide = levels(image, 400, 500), EDSR(2, n_feats=64, n_resblocks=1).eval()
    net = wide if device.type == "cuda" else Hungry(160 * 160, torch.OutOfMemoryError("full"))
    upscaler = Upscaler(net, 2, device=device, tile=None)
    if device.type == "cuda":
        expected = np.concatenate(list(upscaler.rows(lr, np.float32)))
        torch.cuda.empty_cache()
        # Features of the whole image, before and after the shuffle: 2 x 4 x 64 x 400 x 500 x 4 bytes, 410 MB.
        limit = torch.cuda.memory_reserved(device) + 200e6
        torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.mem_get_info(device)[1], device)
    else:
        expected = whole(net.inner, lr)
    result = np.concatenate(list(upscaler.rows(lr, np.float32)))
    assert "tiles of" in upscaler.notes["memory"]
    np.testing.assert_allclose(result, expected, atol=5e-5, rtol=0)
