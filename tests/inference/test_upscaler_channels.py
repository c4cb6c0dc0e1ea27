"""Grey images and transparent ones, tile by tile."""

import numpy as np
import pytest
import torch
from skimage import data

from helpers.tiles import enlarged, levels, rgb_network
from sr_lightning.builders.load_network import load_network
from sr_lightning.image.alpha import spread_colours
from sr_lightning.inference.forward import apply_to_rgb
from sr_lightning.inference.planes import apply_to_planes


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
