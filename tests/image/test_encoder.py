"""Every kind of image to every format, read back by libraries that are not ours."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms
from torchvision.io import ImageReadMode, decode_image

from sr_lightning.errors import UserError
from sr_lightning.image.alpha import spread_colours
from sr_lightning.image.decoder import BadImageError
from sr_lightning.image.encoder import FORMATS, Layout, check_size, fitted, write_image
from sr_lightning.image.metadata import Metadata
from sr_lightning.image.row_resampler import resampled
from sr_lightning.image.source_image import read_source

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAYOUTS = [(channels, bits) for channels in (1, 2, 3, 4) for bits in (8, 16)]


def noise(layout):
    rng = np.random.default_rng(0)
    return rng.integers(0, layout.levels + 1, (layout.height, layout.width, layout.channels)).astype(layout.dtype)


def blocks(pixels):
    yield from np.split(pixels, [1, 30, 31])


@pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")  # torchvision moves it to another package
@pytest.mark.parametrize(("channels", "bits"), LAYOUTS)
def test_png_rows_are_what_libpng_reads(tmp_path, channels, bits):
    layout = Layout(70, 53, channels, bits)
    write_image(tmp_path / "a.png", blocks(noise(layout)), layout, format="png")
    data = torch.frombuffer(bytearray((tmp_path / "a.png").read_bytes()), dtype=torch.uint8)
    read = decode_image(data, mode=ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(read, noise(layout))


@pytest.mark.parametrize(("channels", "bits"), LAYOUTS)
def test_tiff_rows_are_what_tifffile_reads(tmp_path, channels, bits):
    layout = Layout(70, 53, channels, bits)
    write_image(tmp_path / "a.tif", blocks(noise(layout)), layout, format="tiff")
    read = tifffile.imread(tmp_path / "a.tif")
    np.testing.assert_array_equal(read.reshape(noise(layout).shape), noise(layout))


@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].default_quality])
@pytest.mark.parametrize(("channels", "bits"), LAYOUTS)
def test_lossy_formats_hold_the_nearest_layout(tmp_path, name, channels, bits):
    own = Layout(64, 48, channels, bits)
    layout = FORMATS[name].nearest(own)
    assert layout.bits == 8
    assert layout.has_alpha == (own.has_alpha and name != "jpeg")
    ramp = np.linspace(0, 255, 48).round().astype(np.uint8)
    pixels = np.repeat(np.tile(ramp, (64, 1))[:, :, None], channels, axis=2)
    if own.has_alpha:
        pixels[..., -1] = 255
    rows = fitted([pixels], Layout(64, 48, channels), layout)
    write_image(tmp_path / "a", rows, layout, format=name, quality=100)
    with Image.open(tmp_path / "a") as image:
        assert image.format == name.upper()
        assert np.abs(np.asarray(image.convert("L")).astype(int) - ramp).max() <= 3


def test_alpha_is_put_on_white_as_pillow_does():
    pixels = noise(Layout(20, 20, 4))
    (flat,) = fitted([pixels], Layout(20, 20, 4), Layout(20, 20, 3))
    image = Image.fromarray(pixels)
    expected = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    assert np.abs(flat.astype(int) - np.asarray(expected).astype(int)).max() <= 1


@pytest.mark.parametrize("name", FORMATS)
def test_metadata_goes_into_every_format(tmp_path, name):
    exif = {271: "Maker", 0x8769: {33434: (1, 125), 40962: 5, 40963: 7}, 0x8825: {1: "N", 2: (1.0, 2.0, 3.0)}}
    xmp = b'<x:xmpmeta exif:PixelXDimension="5" exif:PixelYDimension="7"/>'
    metadata = Metadata(SRGB, exif, xmp, (300.0, 300.0)).for_output((70, 53), 3).with_history("program", '{"a": 1}')
    layout = Layout(70, 53, 3)
    write_image(tmp_path / "a", [noise(layout)], layout, format=name, metadata=metadata)
    with Image.open(tmp_path / "a") as image:
        assert image.info["icc_profile"] == SRGB
        tags = image.getexif()
        assert (tags[271], tags[305], tags[0x9213]) == ("Maker", "program", '{"a": 1}')
        assert (tags.get_ifd(0x8769)[40962], tags.get_ifd(0x8769)[40963]) == (53, 70)
        assert dict(tags.get_ifd(0x8825)) == {1: "N", 2: (1.0, 2.0, 3.0)}
        found = image.info["xmp"]
        assert b'XDimension="53" exif:PixelYDimension="70"' in found
        if name in ("png", "jpeg", "tiff"):
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


def test_a_profile_of_another_colour_space_is_dropped():
    assert Metadata(SRGB).for_output((1, 1), 3).icc == SRGB
    assert Metadata(SRGB).for_output((1, 1), 1).icc is None


def test_exif_that_is_too_large_for_jpeg_loses_the_makers_notes_first(tmp_path):
    exif = {271: "Maker", 0x8769: {33434: (1, 125), 0x927C: bytes(70_000)}}
    layout = Layout(8, 8, 3)
    write_image(tmp_path / "a", [noise(layout)], layout, format="jpeg", metadata=Metadata(exif=exif))
    with Image.open(tmp_path / "a") as image:
        assert image.getexif()[271] == "Maker"
        assert list(image.getexif().get_ifd(0x8769)) == [33434]


@pytest.mark.parametrize(("name", "side"), [("jpeg", 65_501), ("webp", 16_384), ("avif", 65_536)])
def test_sizes_that_a_format_cannot_hold_are_refused_before_any_row(tmp_path, name, side):
    assert check_size(name, 16, side - 1) is None
    with pytest.raises(UserError, match=f"{side}x16.*allowed: format=png"):
        write_image(tmp_path / "a", iter(()), Layout(16, side, 3), format=name)


def test_nothing_stays_of_an_image_whose_rows_end_early(tmp_path):
    def broken():
        yield noise(Layout(10, 10, 3))
        raise MemoryError

    for name in FORMATS:
        with pytest.raises(MemoryError):
            write_image(tmp_path / "a", broken(), Layout(20, 10, 3), format=name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 2), ("P", 3), ("RGB", 3), ("RGBA", 4), ("CMYK", 3)]
)
def test_modes_are_read_as_they_are(tmp_path, image, mode, channels):
    picture = Image.fromarray(image(20, 30, 0)).convert(mode)
    picture.save(tmp_path / "a.tif")
    expected = picture.convert("L") if mode == "1" else picture.convert("RGB") if mode in ("P", "CMYK") else picture
    read = read_source(tmp_path / "a.tif")
    np.testing.assert_array_equal(read.levels.squeeze(), np.asarray(expected))
    assert read.levels.shape == (20, 30, channels)
    assert bool(read.changes) == (mode in ("1", "P", "CMYK"))


def test_cmyk_goes_through_its_profile(tmp_path, image):
    """The profile is sRGB's own inverse here: no CMYK profile comes with Pillow."""
    picture = Image.fromarray(image(20, 30, 0)).convert("CMYK")
    picture.save(tmp_path / "a.jpg", quality=100, icc_profile=SRGB)
    assert "by its formula" in read_source(tmp_path / "a.jpg").changes[0]  # a profile for RGB is no profile for CMYK


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize(("channels", "bits"), LAYOUTS)
def test_every_kind_is_turned_upright(tmp_path, tag, channels, bits):
    layout = Layout(20, 30, channels, bits)
    write_image(tmp_path / "a.png", [noise(layout)], layout, format="png", metadata=Metadata(exif={274: tag}))
    # The independent reference: Pillow turns an 8-bit image of the same numbers.
    numbers = Image.fromarray(np.arange(600, dtype=np.int32).reshape(20, 30))
    methods = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    if tag in methods:
        numbers = numbers.transpose(Image.Transpose(methods[tag]))
    read = read_source(tmp_path / "a.png")
    np.testing.assert_array_equal(read.levels, noise(layout).reshape(600, channels)[np.asarray(numbers)])
    assert 274 not in read.metadata.exif


def test_transparent_colours_of_a_palette_grey_and_rgb_become_alpha(tmp_path):
    for mode, channels, clear in (("L", 2, 7), ("RGB", 4, (7, 7, 7))):
        picture = Image.new(mode, (4, 4), clear)
        picture.putpixel((0, 0), 9 if mode == "L" else (9, 9, 9))
        picture.save(tmp_path / "a.png", transparency=clear)
        levels = read_source(tmp_path / "a.png").levels
        assert levels.shape[2] == channels
        assert levels[0, 0, -1] == 255
        assert (levels[1:, :, -1] == 0).all()


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_animations_and_pages_are_refused(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(BadImageError, match="has 3 frames; allowed: one"):
        read_source(tmp_path / f"a.{suffix}")


def test_colours_spread_from_the_nearest_visible_pixel():
    levels = np.zeros((3, 7, 4), np.uint8)
    levels[:, 0] = (10, 20, 30, 255)
    levels[:, 6] = (40, 50, 60, 1)
    spread = spread_colours(levels)
    np.testing.assert_array_equal(spread[..., 3], levels[..., 3])
    assert (spread[:, 1:3, :3] == (10, 20, 30)).all()
    assert (spread[:, 4:6, :3] == (40, 50, 60)).all()


@pytest.mark.parametrize("target", [(50, 31), (131, 97), (400, 97), (262, 301), (7, 500), (1, 1)])
def test_rows_are_resampled_as_pillow_does_away_from_the_border(target):
    """Pillow's bicubic is Keys' with a = -0.5 and antialiasing, but it cuts the kernel at the border."""
    image = np.random.default_rng(0).random((131, 97), np.float32)
    rows = torch.from_numpy(image)[None]
    ours = torch.cat(list(resampled(rows.split(13, 1), image.shape, target)), 1)[0].numpy()
    expected = np.asarray(Image.fromarray(image).resize(target[::-1], Image.Resampling.BICUBIC))
    y, x = (round(max(3, 3 * m / n)) for m, n in zip(target, image.shape, strict=True))
    assert ours.shape == target
    np.testing.assert_allclose(ours[y:-y, x:-x], expected[y:-y, x:-x], atol=2e-6)


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    """The second is refused while the first writes, and whole files come out of both orders."""
    path, layout = tmp_path / "a.png", Layout(70, 53, 3, 8)

    def interrupted():
        yield noise(layout)[:30]
        with pytest.raises(UserError, match=r"a\.png: is being written by another process"):
            write_image(path, iter([noise(layout)]), layout, format="png")
        yield noise(layout)[30:]

    write_image(path, interrupted(), layout, format="png")
    np.testing.assert_array_equal(np.asarray(Image.open(path)), noise(layout))
    write_image(path, iter([noise(layout)]), layout, format="png")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
