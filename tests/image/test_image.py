"""The one decoder, and colour."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2ycbcr

from sr_lightning.errors import UserError
from sr_lightning.image.color import (
    read_rgb,
    replace_luma,
    rgb_to_y,
    rgb_to_ycbcr,
    shave,
    to_uint8,
    write_png,
    ycbcr_to_rgb,
)


def test_plain_rgb_and_grey(tmp_path, image):
    pixels = image(20, 30, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), pixels)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "g.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "g.png"), np.repeat(pixels[..., :1], 3, 2))


def test_the_content_decides_not_the_name(tmp_path, image):
    Image.fromarray(image(20, 30, 0)).save(tmp_path / "really_png.JPG", format="PNG")
    np.testing.assert_array_equal(read_rgb(tmp_path / "really_png.JPG"), image(20, 30, 0))


@pytest.mark.parametrize(("tag", "turn"), [(3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(tmp_path, image, tag, turn):
    exif = Image.Exif()
    exif[0x0112] = tag
    Image.fromarray(image(20, 30, 0)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), np.rot90(image(20, 30, 0), turn))


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    levels = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png")[..., 1], np.arange(256).reshape(16, 16))


def test_transparent_parts_become_white(tmp_path):
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2, :, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    pixels = read_rgb(tmp_path / "a.png")
    assert (pixels[:2] == 0).all()
    assert (pixels[2:] == 255).all()
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([10, 20, 30] + [0] * 765)
    palette.save(tmp_path / "p.png", transparency=0)
    assert (read_rgb(tmp_path / "p.png") == 255).all()


def test_first_frame_of_an_animation(tmp_path, caplog):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    with caplog.at_level(logging.WARNING):
        assert read_rgb(tmp_path / "a.tif")[0, 0].tolist() == [255, 0, 0]
    assert "several frames, of which the first is used" in caplog.text


def test_what_cannot_be_read_is_named(tmp_path, image):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match=r"text\.png: is not an image"):
        read_rgb(tmp_path / "text.png")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"empty\.png: is not an image \(0 bytes"):
        read_rgb(tmp_path / "empty.png")
    Image.fromarray(image(64, 64, 0)).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"cut\.png: cannot be decoded"):
        read_rgb(tmp_path / "cut.png")
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(UserError, match=r"f\.tif: holds floating-point"):
        read_rgb(tmp_path / "f.tif")
    with pytest.raises(UserError, match=r"whole\.png: is 64x64; allowed"):
        read_rgb(tmp_path / "whole.png", max_pixels=4000)
    with pytest.raises(UserError, match=r"nowhere\.png"):
        read_rgb(tmp_path / "nowhere.png")


def test_write_and_read_back(tmp_path, image):
    write_png(tmp_path / "a.png", image(9, 7, 1))
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), image(9, 7, 1))
    assert [path.name for path in tmp_path.glob("a.*")] == ["a.png"]


def test_ycbcr_equals_scikit_image(image):
    pixels = image(16, 18, 0)
    expected = rgb2ycbcr(pixels)
    x = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    np.testing.assert_allclose(rgb_to_ycbcr(x).permute(1, 2, 0) * 255, expected, atol=1e-4)
    np.testing.assert_allclose(rgb_to_y(x)[0], expected[..., 0], atol=1e-4)
    torch.testing.assert_close(ycbcr_to_rgb(rgb_to_ycbcr(x)), x, atol=1e-5, rtol=0)


def test_other_luma_and_the_same_chroma(image):
    rgb = torch.from_numpy(image(9, 8, 0)).permute(2, 0, 1)[None].double() / 255
    other = rgb_to_y(torch.from_numpy(image(9, 8, 1)).permute(2, 0, 1)[None].double() / 255) / 255
    found = rgb2ycbcr(replace_luma(rgb, other)[0].permute(1, 2, 0).numpy())  # scikit-image's
    np.testing.assert_allclose(found[..., 0] / 255, other[0, 0].numpy(), atol=1e-9)
    np.testing.assert_allclose(found[..., 1:], rgb2ycbcr(rgb[0].permute(1, 2, 0).numpy())[..., 1:], atol=1e-3)


def test_levels():
    x = torch.tensor([-0.2, 0.0, 0.5 / 255, 0.499 / 255, 1.0, 1.7])
    assert to_uint8(x).tolist() == [0, 0, 1, 0, 255, 255]
    assert to_uint8(torch.arange(256) / 255).tolist() == list(range(256))


def test_shave():
    x = torch.arange(30).view(1, 5, 6)
    assert shave(x, 2).tolist() == [[[14, 15]]]
    assert shave(x, 0) is not None
    assert shave(x, 0).shape == x.shape
