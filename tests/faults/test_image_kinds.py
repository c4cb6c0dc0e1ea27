"""Images of every kind, and how each is read: endings, sizes, alpha, colours, depth, turns, frames (D4 to D14)."""

import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from helpers.faulty_images import NOISE, WIDE, encoded, setup, wide_png
from sr_lightning.data.datasets import EvalImages, TrainSamples
from sr_lightning.data.degradations.base import Downscale, to_eval_batch, to_train_batch
from sr_lightning.data.files import find_images
from sr_lightning.data.images import Images
from sr_lightning.data.sampling.sampler import BatchRequest
from sr_lightning.errors import UserError
from sr_lightning.image.color import read_rgb


@pytest.mark.fault("D4", "read, by its content")
def test_D4_the_content_decides_and_the_case_of_an_ending_does_not_matter(tmp_path):
    for name in ("png.jpg", "upper.PNG", "mixed.JpEg"):
        (tmp_path / name).write_bytes(encoded("PNG"))
    paths = find_images(tmp_path)
    assert [path.name for path in paths] == ["mixed.JpEg", "png.jpg", "upper.PNG"]
    for path in paths:
        np.testing.assert_array_equal(read_rgb(path), NOISE)


@pytest.mark.parametrize(
    ("height", "width", "is_enough"), [(1, 1, False), (47, 90, False), (90, 47, False), (48, 48, True)]
)
@pytest.mark.fault("D5", "refused with file and needed size; exactly as large is read")
def test_D5_smaller_than_a_patch(tmp_path, height, width, is_enough):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(tmp_path / "in" / "a.png")
    if is_enough:
        assert setup(tmp_path / "in", tmp_path, val_holdout=0).train_images.hr.sizes == [(48, 48)]
    else:
        with pytest.raises(UserError, match=rf"needs images of 48 pixels.*a\.png \({width}x{height}\)"):
            setup(tmp_path / "in", tmp_path, val_holdout=0)


class Grey:
    """In place of a store: grey images of given sizes."""

    grouping = None

    def __init__(self, sizes):
        self.sizes, self.paths = sizes, [Path("a.png")] * len(sizes)

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, i):
        height, width = self.sizes[i]
        return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.fault("D6", "cropped, never resized, all sizes up to 40")
def test_D6_hr_is_cropped_to_a_multiple_never_resized(scale):
    sizes = [(101, 67), *((h, w) for h in range(scale, 41) for w in (scale, 17, 40) if w >= scale)]
    store = Grey(sizes)
    for i, (height, width) in enumerate(sizes):
        batch = to_eval_batch(EvalImages([Images("a", store)], [scale])[i], Downscale())
        rows, columns = height // scale, width // scale
        assert batch.lr.shape[-2:] == (rows, columns)
        expected = store[i][: rows * scale, : columns * scale].transpose(2, 0, 1)
        assert torch.equal(batch.hr[0], torch.from_numpy(expected.copy()))
    large = Images("a", Grey([size for size in sizes if min(size) >= 2 * scale]))
    samples = TrainSamples(large, patch_size=2, seed=0, augment=True, degrade=Downscale())
    batch = to_train_batch(samples[BatchRequest(range(64), scale, 64)], samples.degrade)
    assert batch.hr.shape == (64, 3, 2 * scale, 2 * scale)


def with_alpha(mode):
    """An image of black on transparent red: left opaque, right transparent; in the middle, if it can, half."""
    if mode == "P":
        image = Image.new("P", (3, 1))
        image.putpalette([0, 0, 0, 0, 0, 0, 255, 0, 0] + [0] * 759)
        image.putdata([0, 1, 2])
        return image, {"transparency": bytes([255, 128, 0])}
    if mode in ("L", "RGB"):
        image = Image.new(mode, (3, 1), 7 if mode == "L" else (7, 7, 7))
        image.putpixel((0, 0), 0)
        image.putpixel((1, 0), 127 if mode == "L" else (127, 127, 127))
        return image, {"transparency": 7 if mode == "L" else (7, 7, 7)}
    image = Image.new("RGBA", (3, 1))
    image.putdata([(0, 0, 0, 255), (0, 0, 0, 128), (255, 0, 0, 0)])
    return (image.convert("LA") if mode == "LA" else image), {}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
@pytest.mark.fault("D7", "put on white")
def test_D7_alpha_is_put_on_white(tmp_path, mode):
    image, settings = with_alpha(mode)
    image.save(tmp_path / "a.png", **settings)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png")[0], [[0] * 3, [127] * 3, [255] * 3])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.fault("D7", "put on white")
def test_D7_alpha_of_16_bits_too(tmp_path, channels):
    levels = np.full((1, 2, channels), 300, np.uint16)
    levels[0, 1] = 301  # the same high byte
    (tmp_path / "a.png").write_bytes(wide_png(levels, transparent=struct.pack(">H", 300) * channels))
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png")[0], [[255] * 3, [1] * 3])
    levels = np.array([[[0, 0, 0, 65535], [0, 0, 0, 128 * 257], [65535, 0, 0, 0]]], np.uint16)
    (tmp_path / "b.png").write_bytes(wide_png(levels))
    np.testing.assert_array_equal(read_rgb(tmp_path / "b.png")[0], [[0] * 3, [127] * 3, [255] * 3])


@pytest.mark.fault("D7", "one warning for a set, where anything is transparent")
def test_D7_what_is_put_on_white_is_said(folder, tmp_path, caplog):
    opaque = np.dstack([NOISE, np.full(NOISE.shape[:2], 255, np.uint8)])
    Image.fromarray(opaque).save(folder / "opaque.png")
    for i in range(2):
        opaque[i, i, 3] = 254
        Image.fromarray(opaque).save(folder / f"alpha_{i}.png")
    with caplog.at_level(logging.WARNING):
        setup(folder, tmp_path, val_holdout=0, val={"V": {"hr": str(folder), "files": ["img_0.png"]}})
    assert "train: 2 of 9 images have transparent parts, which are put on white" in caplog.text


@pytest.mark.parametrize("mode", ["L", "1", "P"])
@pytest.mark.fault("D7", "the colours that were meant")
def test_D7_grey_one_bit_and_palette(tmp_path, mode):
    image = Image.fromarray(NOISE).convert(mode) if mode != "P" else Image.fromarray(NOISE).quantize(256)
    image.save(tmp_path / "a.png")
    expected = np.asarray(image.convert("RGB"))
    assert expected.std() > 20
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), expected)


@pytest.mark.fault("D8", "converted")
def test_D8_cmyk_ycbcr_and_lab(tmp_path):
    inks = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 0, 255)]
    colours = [(255, 255, 255), (0, 255, 255), (255, 0, 255), (0, 0, 0)]
    for ink, colour in zip(inks, colours, strict=True):
        for kind in ("jpg", "tif"):
            Image.new("CMYK", (16, 16), ink).save(tmp_path / f"a.{kind}")
            assert np.abs(read_rgb(tmp_path / f"a.{kind}").astype(int) - colour).max() <= 3, (kind, ink)
    # Compressed: Pillow before 13 cannot read the uncompressed ones that it writes.
    Image.new("RGB", (16, 16), (200, 30, 60)).convert("YCbCr").save(tmp_path / "a.tif", compression="tiff_lzw")
    assert np.abs(read_rgb(tmp_path / "a.tif").astype(int) - (200, 30, 60)).max() <= 2
    Image.new("LAB", (16, 16), (255, 128, 128)).save(tmp_path / "b.tif")  # L* of 100: white
    assert read_rgb(tmp_path / "b.tif").min() >= 250


GREY = {
    "png": lambda path, x: path.write_bytes(wide_png(x[..., None])),
    "tif": lambda path, x: tifffile.imwrite(path, x),
    "big_endian.tif": lambda path, x: tifffile.imwrite(path, x, byteorder=">"),
    "deflate.tif": lambda path, x: tifffile.imwrite(path, x, compression="zlib"),
    "pgm": lambda path, x: path.write_bytes(b"P5 80 96 65535\n" + x.astype(">u2").tobytes()),
}
COLOUR = {
    "png": lambda path, x: path.write_bytes(wide_png(x)),
    "alpha.png": lambda path, x: path.write_bytes(wide_png(np.dstack([x, np.full_like(x[..., 0], 65535)]))),
    "tif": lambda path, x: tifffile.imwrite(path, x, photometric="rgb"),
    "big_endian.tif": lambda path, x: tifffile.imwrite(path, x, byteorder=">", photometric="rgb"),
    "deflate.tif": lambda path, x: tifffile.imwrite(path, x, compression="zlib", photometric="rgb"),
}


@pytest.mark.parametrize("kind", GREY)
@pytest.mark.fault("D9", "divided by 257, never clipped")
def test_D9_grey_of_16_bits_is_divided_by_257(tmp_path, kind):
    GREY[kind](tmp_path / kind, WIDE[..., 0])
    expected = np.floor(WIDE[..., :1] / 257 + 0.5)
    np.testing.assert_array_equal(read_rgb(tmp_path / kind), np.repeat(expected, 3, axis=2))


@pytest.mark.parametrize("kind", COLOUR)
@pytest.mark.fault("D11", "divided by 257, with a warning")
def test_D11_colour_of_16_bits_is_divided_by_257(tmp_path, caplog, kind):
    COLOUR[kind](tmp_path / kind, WIDE)
    with caplog.at_level(logging.WARNING):
        found = read_rgb(tmp_path / kind)
    assert (np.floor(WIDE / 257 + 0.5) != WIDE // 256).mean() > 0.2  # else the next line would say little
    np.testing.assert_array_equal(found, np.floor(WIDE / 257 + 0.5))
    assert "16 bits a channel, which are rounded to 8" in caplog.text


@pytest.mark.fault("D11", "one warning")
def test_D11_one_warning_for_a_set_at_every_start(folder, tmp_path, caplog):
    for i in range(3):
        (folder / f"wide_{i}.png").write_bytes(wide_png(WIDE - np.uint16(i)))
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            setup(folder, tmp_path, val_holdout=0, val={"V": {"hr": str(folder), "files": ["img_0.png"]}})
        assert caplog.text.count("train: 3 of 9 images have 16 bits a channel") == 1
        assert caplog.text.count("16 bits") == 1


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif", "16.png"])
@pytest.mark.fault("D12", "turned, HR and LR alike")
def test_D12_exif_orientation_of_hr_and_lr(tmp_path, kind):
    (tmp_path / "HR").mkdir()
    (tmp_path / "LR").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    for place, size in (("HR", (96, 64)), ("LR", (48, 32))):
        grey = np.zeros(size, np.uint16 if kind == "16.png" else np.uint8)
        grey[: size[0] // 2] = 65535 if kind == "16.png" else 255
        image = Image.fromarray(grey) if kind == "16.png" else Image.fromarray(grey).convert("RGB")
        image.save(tmp_path / place / f"a.{kind}", exif=exif)
    data = setup(tmp_path / "HR", tmp_path, train_lr_dir=str(tmp_path / "LR"), scale=2, val_holdout=0)
    for store, (height, width) in ((data.train_images.hr, (64, 96)), (data.train_images.lr[2], (32, 48))):
        assert store.sizes == [(height, width)]
        assert store[0][:, : width // 2 - 8].max() <= 5  # the dark half was below
        assert store[0][:, width // 2 + 8 :].min() >= 250


@pytest.mark.fault("D13", "numbers kept")
def test_D13_an_icc_profile_changes_no_number(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"____").replace(b"gXYZ", b"rXYZ").replace(b"____", b"gXYZ")
    for kind in ("png", "tif"):
        Image.fromarray(NOISE).save(tmp_path / f"a.{kind}", icc_profile=swapped)
        with Image.open(tmp_path / f"a.{kind}") as image:
            assert image.info["icc_profile"] == swapped
        np.testing.assert_array_equal(read_rgb(tmp_path / f"a.{kind}"), NOISE)


@pytest.mark.parametrize("kind", ["a.gif", "a.png", "a.webp", "a.tif"])
@pytest.mark.fault("D14", "the first frame, with a warning")
def test_D14_the_first_frame_with_a_warning(tmp_path, caplog, kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(tmp_path / kind, save_all=True, append_images=frames[1:])
    with caplog.at_level(logging.WARNING):
        assert np.abs(read_rgb(tmp_path / kind).astype(int) - (255, 0, 0)).max() <= 2
    assert f"{kind}: has several frames, of which the first is used" in caplog.text


def test_D14_a_phones_photograph_with_a_preview_is_one_image(tmp_path, caplog):
    photo, preview = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    photo.save(tmp_path / "mpo.jpg", "MPO", save_all=True, append_images=[preview])
    with caplog.at_level(logging.WARNING):
        assert np.abs(read_rgb(tmp_path / "mpo.jpg").astype(int) - (255, 0, 0)).max() <= 2
    assert "frames" not in caplog.text
