"""The fault matrix of images, D1 to D23: each is read as it should be, refused by name, or left out and counted."""

import io
import logging
import os
import re
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from helpers.stub_trainer import stub_trainer
from sr_lightning.data import SRDataModule
from sr_lightning.data.cache.store import ImageStore
from sr_lightning.data.datasets import EvalImages, TrainSamples
from sr_lightning.data.degradations.base import Downscale, to_eval_batch, to_train_batch
from sr_lightning.data.files import find_images
from sr_lightning.data.images import Images
from sr_lightning.data.sampling.sampler import BatchRequest
from sr_lightning.errors import UserError
from sr_lightning.image.color import read_rgb
from sr_lightning.image.decoder import decode

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (96, 80, 3), dtype=np.uint8)
WIDE = RNG.integers(0, 65536, (96, 80, 3), dtype=np.uint16)


def setup(folder, tmp_path, **settings):
    defaults = {"train_dir": str(folder), "cache_dir": str(tmp_path / "cache"), "patch_size": 12, "batch_size": 4}
    data = SRDataModule(**(defaults | {"val_holdout": 2} | settings))
    data.trainer = stub_trainer()
    data.setup("fit")
    return data


def names(images):
    return [path.name for path in images.hr.paths]


def encoded(kind, **settings):
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, kind, **settings)
    return file.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def wide_png(levels, *, transparent=b""):
    """A PNG of 16 bits a channel, which Pillow cannot write in colour."""
    height, width, channels = levels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    parts = [chunk(b"IHDR", header), chunk(b"tRNS", transparent) if transparent else b""]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


def flipped(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0x10]) + data[len(data) // 2 + 1 :]


# -- D1, D2, D3, D10, D15: refused, all at once; or left out, and counted ------------------------------


BAD = {
    "D1_jpeg_cut": lambda: encoded("JPEG")[:5000],
    "D1_webp_cut": lambda: encoded("WEBP")[:2000],
    "D2_png_cut": lambda: encoded("PNG")[:9000],
    "D2_png_flipped_byte": lambda: flipped(encoded("PNG")),
    "D2_tiff_cut": lambda: encoded("TIFF")[:9000],
    "D2_bmp_cut": lambda: encoded("BMP")[:9000],
    "D3_empty": lambda: b"",
    "D3_text": lambda: b"no image",
    "D3_web_page": lambda: b"<!DOCTYPE html><html>404</html>",
    "D3_header_only": lambda: encoded("PNG")[:8],
    "D10_float": lambda: tiff(np.zeros((96, 80), np.float32)),
    "D10_float_rgb": lambda: tiff(np.zeros((96, 80, 3), np.float32), photometric="rgb"),
    "D10_float_map": lambda: b"Pf\n80 96\n-1.0\n" + bytes(4 * 80 * 96),
    "D10_half": lambda: tiff(np.zeros((96, 80), np.float16)),
    "D10_int32": lambda: tiff(np.zeros((96, 80), np.int32)),
    "D9_signed": lambda: tiff(np.zeros((96, 80), np.int16)),
    "D11_planes": lambda: tiff(WIDE.transpose(2, 0, 1).copy(), planarconfig="separate", photometric="rgb"),
    "D15_text_chunk": lambda: encoded("PNG")[:33] + chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**8))) + b"",
}


def tiff(levels, **settings):
    file = io.BytesIO()
    tifffile.imwrite(file, levels, **settings)
    return file.getvalue()


def spoil(folder, kind):
    (folder / "img_9.png").write_bytes(BAD[kind]())


def cases(kinds, expected):
    """Each a case of the id that its name begins with."""
    return [pytest.param(kind, marks=pytest.mark.fault(kind.partition("_")[0], expected)) for kind in kinds]


@pytest.mark.parametrize("kind", cases(BAD, "refused by name; or left out, listed and counted"))
def test_bad_image(folder, tmp_path, caplog, kind):
    spoil(folder, kind)
    with pytest.raises(UserError, match=r"img_9\.png: .*\n1 image cannot be used.*on_bad_image=skip"):
        setup(folder, tmp_path)
    assert not list((tmp_path / "cache").glob("*.rgb8"))
    for _ in range(2):  # at every start, not only when the store is built
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            data = setup(folder, tmp_path, on_bad_image="skip")
        assert "1 of 7 training images left out (data.on_bad_image=skip):\n" in caplog.text
        assert "img_9.png: " in caplog.text
        assert data.left_out == 1
        assert sorted(names(data.train_images) + names(data.val_sets[0])) == [f"img_{i}.png" for i in range(6)]


@pytest.mark.fault("D1", "all files of all sets named in one message")
@pytest.mark.fault("D3", "all files of all sets named in one message")
def test_bad_images_of_every_set_are_named_at_once(folder, tmp_path):
    """D1 to D3 in training, validation and test: ten are named, all are counted."""
    for name in ("val", "test"):
        (tmp_path / name).mkdir()
        Image.fromarray(NOISE).save(tmp_path / name / "good.png")
        (tmp_path / name / f"rotten_{name}.png").write_bytes(b"no image")
    for i in range(9):
        (folder / f"rotten_{i}.jpg").write_bytes(encoded("JPEG")[: 1000 + i])
    sets = {"val": {"V": str(tmp_path / "val")}, "test": {"T": {"hr": str(tmp_path / "test")}}}
    with pytest.raises(UserError) as caught:
        setup(folder, tmp_path, **sets)
    said = str(caught.value)
    assert said.count("rotten_") == 10
    assert "… and 1 more\n11 images cannot be used" in said
    (folder / "rotten_8.jpg").unlink()
    with pytest.raises(UserError, match=r"rotten_val\.png[^…]*10 images cannot be used") as caught:
        setup(folder, tmp_path, **sets)
    assert all(f"rotten_{i}.jpg" in str(caught.value) for i in range(8))


@pytest.mark.fault("D5", "named together with bad files and other sets")
@pytest.mark.fault("D10", "named together with images that are too small")
def test_bad_images_of_different_kinds_are_named_at_once(folder, tmp_path):
    Image.fromarray(NOISE[..., 0].astype(np.float32)).save(folder / "floats.tiff")
    Image.fromarray(NOISE[:, :1]).save(folder / "narrow.png")
    (tmp_path / "val").mkdir()
    for name, image in {"low": NOISE[:8], "lower": NOISE[:7]}.items():
        Image.fromarray(image).save(tmp_path / "val" / f"{name}.png")
    with pytest.raises(UserError) as caught:
        setup(folder, tmp_path, val={"V": str(tmp_path / "val")}, val_holdout=0)
    for said in (
        r"floats\.tiff: holds floating-point values",
        r"needs images of 48 pixels and more; smaller: .*narrow\.png \(1x96\)\. Allowed: data\.on_small=skip",
        r"data\.val\.V: .*low\.png: 8 pixels are too few at x4; needed: 23\ndata\.val\.V: .*lower\.png: 7 pixels",
    ):
        assert re.search(said, str(caught.value)), said
    (tmp_path / "val" / "floats.tif").write_bytes((folder / "floats.tiff").read_bytes())
    (folder / "floats.tiff").unlink()
    (folder / "narrow.png").unlink()
    with pytest.raises(UserError, match=r"(?s)low\.png: 8 pixels .*floats\.tif: holds floating-point values"):
        setup(folder, tmp_path, val={"V": str(tmp_path / "val")}, val_holdout=0)


@pytest.mark.fault("D5", "refused before training, though it may be trained on")
def test_a_held_out_image_that_is_too_small_to_be_evaluated_is_refused(folder, tmp_path):
    for path in folder.iterdir():
        Image.fromarray(NOISE[:20]).save(path)
    with pytest.raises(UserError, match=r"data\.val_holdout: .*img_1\.png: 20 pixels are too few"):
        setup(folder, tmp_path, on_small="mirror")


@pytest.mark.fault("D3", "refused, whatever on_bad_image says")
def test_skip_never_shortens_a_validation_or_test_set(folder, tmp_path):
    for name in ("val", "test"):
        (tmp_path / name).mkdir()
        Image.fromarray(NOISE).save(tmp_path / name / "good.png")
        (tmp_path / name / f"rotten_{name}.png").write_bytes(b"no image")
    spoil(folder, "D3_text")
    sets = {"val": {"V": str(tmp_path / "val")}, "test": {"T": str(tmp_path / "test")}}
    with pytest.raises(UserError, match="2 images cannot be used") as caught:
        setup(folder, tmp_path, on_bad_image="skip", **sets)
    assert "rotten_val.png" in str(caught.value)
    assert "rotten_test.png" in str(caught.value)
    assert "img_9" not in str(caught.value)


@pytest.mark.fault("D2", "left out with its LR or HR partner, and counted")
def test_skip_keeps_pairs_together_and_its_key_is_that_of_the_good_ones(folder, tmp_path):
    for scale in (2, 4):
        (tmp_path / f"X{scale}").mkdir()
        for path in sorted(folder.iterdir()):
            with Image.open(path) as hr:
                hr.resize((hr.width // scale, hr.height // scale)).save(tmp_path / f"X{scale}" / path.name)
    pairs = {"train_lr_dir": str(tmp_path / "X{scale}"), "scale": [2, 4], "patch_size": 6, "val_holdout": 1}
    (folder / "img_1.png").write_bytes(b"")
    (tmp_path / "X2" / "img_3.png").write_bytes(encoded("PNG")[:999])
    with pytest.raises(UserError, match="2 images cannot be used"):
        setup(folder, tmp_path, **pairs)
    data = setup(folder, tmp_path, on_bad_image="skip", **pairs)
    assert data.left_out == 2
    kept = ["img_0.png", "img_2.png", "img_4.png", "img_5.png"]
    assert sorted(names(data.train_images) + names(data.val_sets[0])) == kept
    for store in data.train_images.lr.values():
        assert [path.name for path in store.paths] == names(data.train_images)
    for place in (folder, tmp_path / "X2", tmp_path / "X4"):
        for i in (1, 3):
            (place / f"img_{i}.png").unlink()
    without = setup(folder, tmp_path, **pairs)
    assert without.fingerprint() == data.fingerprint()
    assert names(without.val_sets[0]) == names(data.val_sets[0])


@pytest.mark.fault("D23", "looked at anew")
def test_skip_sees_an_image_that_was_mended_and_one_that_went_bad(folder, tmp_path):
    spoil(folder, "D1_jpeg_cut")
    assert setup(folder, tmp_path, on_bad_image="skip").left_out == 1
    (folder / "img_9.png").write_bytes(encoded("PNG"))
    assert setup(folder, tmp_path, on_bad_image="skip").left_out == 0
    (folder / "img_0.png").write_bytes(b"")
    assert setup(folder, tmp_path, on_bad_image="skip").left_out == 1


@pytest.mark.fault("D20", "refused")
def test_skip_of_everything_is_refused(tmp_path):
    (tmp_path / "all").mkdir()
    for i in range(3):
        (tmp_path / "all" / f"{i}.png").write_bytes(b"x")
    with pytest.raises(UserError, match="3 images cannot be used"):
        setup(tmp_path / "all", tmp_path, on_bad_image="skip", val_holdout=0)


@pytest.mark.fault("D2", "a new store; a continued run is refused")
def test_D2_a_flipped_byte_in_a_jpeg_changes_the_store(folder, tmp_path):
    """Nobody can tell that from the image, but the run's data are no longer the same."""
    (folder / "a.jpg").write_bytes(encoded("JPEG"))
    before = setup(folder, tmp_path).fingerprint()
    (folder / "a.jpg").write_bytes(flipped(encoded("JPEG")))
    assert setup(folder, tmp_path).fingerprint() != before


@pytest.mark.parametrize("side", [10_000, 15_000])
@pytest.mark.fault("D15", "refused before it is decoded, by name")
def test_D15_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch, side):
    row = zlib.compressobj(9)
    body = b"".join(row.compress(bytes(side + 1)) for _ in range(side)) + row.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(file)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(UserError, match=r"bomb\.png: .*(no photograph is packed so densely|exceeds limit)"):
        read_rgb(tmp_path / "bomb.png")
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.fault("D15", "refused by an own limit; a photograph is read")
def test_D15_the_own_limit_and_a_large_photograph(tmp_path, monkeypatch):
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png: is 80x96; allowed: up to 0 megapixels"):
        read_rgb(tmp_path / "a.png", max_pixels=96 * 80 - 1)
    monkeypatch.setattr("sr_lightning.image.decoder._SUSPICIOUS_PIXELS", 100)
    assert read_rgb(tmp_path / "a.png", max_pixels=96 * 80).shape == (96, 80, 3)


def test_warnings_of_the_process_are_as_before(tmp_path, monkeypatch):
    """Of two threads that decode at once the one that began first ends first: nothing stays switched off."""
    import sr_lightning.image.decoder as decoding

    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))

    def meet(image, path, max_pixels):
        if path.name == "first.png":
            first_is_in.set()
            assert second_is_in.wait(10)
        else:
            second_is_in.set()
            assert first_is_out.wait(10)
        warnings.warn("Pillow's", UserWarning, stacklevel=1)  # an error here, were it not kept back

    monkeypatch.setattr(decoding, "_check", meet)
    for name in ("first.png", "second.png"):
        (tmp_path / name).write_bytes(encoded("PNG"))
    before = list(warnings.filters)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(decode, tmp_path / "first.png")
        assert first_is_in.wait(10)
        second = pool.submit(decode, tmp_path / "second.png")
        first.result()
        first_is_out.set()
        second.result()
    assert warnings.filters == before


# -- D4 to D14: what is read, and how ----------------------------------------------------------------


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


# -- D16 to D23: files and folders -------------------------------------------------------------------


@pytest.mark.fault("D16", "each real file once")
def test_D16_links_lead_to_each_real_file_once(folder):
    (folder / "up").symlink_to(folder.parent)
    (folder / "img_0_again.png").symlink_to(folder / "img_0.png")
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    assert [path.name for path in find_images(folder)] == [f"img_{i}.png" for i in range(6)]


ODD = (
    "with space.png",
    "größe ✓.png",
    "x" * 200 + ".png",
    "new\nline.png",
    "<img src=x onerror=alert(1)>.png",
    "$(touch canary).png",
    "-rf.png",
    "up..%2f..%2f.png",
    "[red]a[bold].png",
    "\x1b[2J.png",
)


@pytest.mark.fault("D17", "read")
def test_D17_names_may_be_anything(tmp_path):
    (tmp_path / "in").mkdir()
    for i, name in enumerate(ODD):
        Image.fromarray(NOISE + np.uint8(20 * i)).save(tmp_path / "in" / name, format="PNG")
    data = setup(tmp_path / "in", tmp_path, val_holdout=3, on_small="mirror")
    assert sorted(names(data.train_images) + names(data.val_sets[0])) == sorted(ODD)


@pytest.mark.fault("D17", "refused, all of them, escaped")
def test_D17_names_that_are_no_text_are_refused(tmp_path):
    """They could be printed nowhere: neither in a table nor in a log."""
    (tmp_path / "in").mkdir()
    for name in (b"/\xff.png", b"/\xfe.png"):
        with open(os.fsencode(tmp_path / "in") + name, "wb") as file:
            file.write(encoded("PNG"))
    with pytest.raises(UserError, match=r"data\.train_dir: names .* not in UTF-8: .*udcfe\.png.*udcff\.png") as caught:
        setup(tmp_path / "in", tmp_path, val_holdout=0)
    assert str(caught.value).isprintable()


@pytest.mark.fault("D18", "refused by name, never skipped")
def test_D18_files_and_folders_that_may_not_be_read(folder, tmp_path, monkeypatch):
    """As root everything may be read, so the refusal is the system's in place of its permissions."""
    real_open, real_scandir = Path.open, os.scandir

    def refuse(self, *arguments, **settings):
        if self.name in ("img_1.png", "img_4.png"):
            raise PermissionError(13, "Permission denied", str(self))
        return real_open(self, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        for on_bad_image in ("error", "skip"):  # the image may be a good one: nothing to skip
            with pytest.raises(UserError, match=r"cannot read .*img_1\.png: Permission denied\n.*img_4\.png"):
                setup(folder, tmp_path, on_bad_image=on_bad_image, val_holdout=0)
    (folder / "closed").mkdir()

    def closed(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(UserError, match=r"cannot read .*closed: Permission denied"):
        setup(folder, tmp_path)


@pytest.mark.fault("D18", "refused by name, never skipped")
def test_D18_a_failing_disk_is_not_a_bad_image(folder, tmp_path):
    if not Path("/proc/self/mem").exists():
        pytest.skip("needs a file that opens and cannot be read")
    (folder / "img_9.png").symlink_to("/proc/self/mem")
    with pytest.raises(UserError, match=r"cannot read .*img_9\.png: Input/output error"):
        setup(folder, tmp_path, on_bad_image="skip")


@pytest.fixture
def pairs(folder, tmp_path):
    (tmp_path / "LR").mkdir()
    for path in folder.iterdir():
        with Image.open(path) as hr:
            hr.resize((hr.width // 4, hr.height // 4)).save(tmp_path / "LR" / path.name)
    return tmp_path / "LR"


@pytest.mark.parametrize("kind", ["missing", "extra", "one_pixel_off", "swapped"])
@pytest.mark.fault("D19", "refused at the start, by name")
def test_D19_lr_that_does_not_belong(folder, tmp_path, pairs, kind):
    if kind == "missing":
        (pairs / "img_2.png").unlink()
        said = r"img_2\.png: expected one LR file .* found none"
    elif kind == "extra":
        Image.fromarray(NOISE).save(pairs / "other.png")
        said = r"no HR image belongs to other\.png"
    elif kind == "one_pixel_off":
        Image.new("RGB", (27, 24)).save(pairs / "img_0.png")
        said = r"img_0\.png: is 27x24, but .*img_0\.png is 112x96, which at x4 needs 28x24"
    else:
        (pairs / "img_0.png").rename(pairs / "x")
        (pairs / "img_1.png").rename(pairs / "img_0.png")
        (pairs / "x").rename(pairs / "img_1.png")
        said = r"img_0\.png: is 24x25, but .*img_0\.png is 112x96"
    with pytest.raises(UserError, match=said):
        setup(folder, tmp_path, train_lr_dir=str(pairs), patch_size=6, val_holdout=0)


@pytest.fixture
def alike(tmp_path):
    """HR and LR of four different photographs of one size."""
    from skimage import data as photographs

    for place in ("HR", "LR"):
        (tmp_path / place).mkdir()
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        hr = Image.fromarray(getattr(photographs, name)()).resize((128, 96))
        hr.save(tmp_path / "HR" / f"{name}.png")
        hr.resize((32, 24), Image.Resampling.BICUBIC).save(tmp_path / "LR" / f"{name}.png")
    return tmp_path / "HR", tmp_path / "LR"


def swap(folder, one, other):
    (folder / one).rename(folder / "x")
    (folder / other).rename(folder / one)
    (folder / "x").rename(folder / other)


@pytest.mark.fault("D19", "refused at the start: sizes fit, contents do not")
@pytest.mark.parametrize("where", ["train", "val", "test"])
def test_D19_names_swapped_among_images_of_one_size(folder, tmp_path, alike, where):
    hr, lr = alike
    pair = {"hr": str(hr), "lr": str(lr)}
    settings = {where: {"Mine": pair}} if where != "train" else {"train_dir": str(hr), "train_lr_dir": str(lr)}
    settings |= {"patch_size": 6, "val_holdout": 0}
    setup(folder, tmp_path, **settings)
    swap(lr, "chelsea.png", "rocket.png")
    for _ in range(2):  # at every start
        with pytest.raises(
            UserError, match=r"LR/chelsea\.png: shows .*HR/rocket\.png, but .*\n.*LR/rocket\.png: shows"
        ):
            setup(folder, tmp_path, **settings)


@pytest.mark.fault("D19", "a strong degradation is no swap")
def test_D19_lr_that_is_unlike_its_hr(folder, tmp_path, alike):
    hr, lr = alike
    for i, path in enumerate(sorted(lr.iterdir())):
        levels = np.asarray(Image.open(path)).astype(float) * 0.6 + np.random.default_rng(i).normal(20, 25, (24, 32, 3))
        Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(path)
    setup(folder, tmp_path, train_dir=str(hr), train_lr_dir=str(lr), patch_size=6, val_holdout=0)
    for path in lr.iterdir():  # and where nothing is to be seen
        Image.new("RGB", (32, 24), (90, 90, 90)).save(path)
    setup(folder, tmp_path, train_dir=str(hr), train_lr_dir=str(lr), patch_size=6, val_holdout=0)


@pytest.mark.parametrize("kind", ["empty", "folders_only", "hidden_only", "foreign_only"])
@pytest.mark.fault("D20", "refused, with what was found instead")
def test_D20_a_folder_without_images(tmp_path, kind):
    place = tmp_path / "in"
    (place / "a" / "b").mkdir(parents=True) if kind == "folders_only" else place.mkdir()
    if kind == "hidden_only":
        (place / ".DS_Store").touch()
        (place / "._a.png").write_bytes(encoded("PNG"))
    if kind == "foreign_only":
        (place / "Thumbs.db").touch()
    with pytest.raises(
        UserError, match=r"data\.train_dir: no image in .*in: found (no file|only files with the extensions \.db)"
    ):
        setup(place, tmp_path)


@pytest.mark.fault("D20", "left out")
def test_D20_hidden_and_foreign_files_beside_images(folder):
    for name in (".DS_Store", "Thumbs.db", "._img_0.png", ".hidden/a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert len(find_images(folder)) == 6


@pytest.mark.fault("D22", "the same order and the same batches")
def test_D22_the_order_on_the_disk_does_not_matter(folder, tmp_path, monkeypatch):
    def batches():
        data = setup(folder, tmp_path, augment=True)
        found = data.train_dataloader().dataset[BatchRequest(range(8), 4, 8)]
        return names(data.train_images), data.fingerprint(), found.hr

    first = batches()
    real = os.scandir

    class Reversed(list):
        def __init__(self, path):
            super().__init__(list(real(path))[::-1])

        def __enter__(self):
            return iter(self)

        def __exit__(self, *_):
            pass

        def __next__(self):
            if not self:
                raise StopIteration
            return self.pop(0)

        def close(self):
            pass

    monkeypatch.setattr(os, "scandir", Reversed)
    for path in list(folder.iterdir())[::2]:
        os.utime(path, (0, 0))
    second = batches()
    assert first[:2] == second[:2]
    assert torch.equal(first[2], second[2])


@pytest.mark.fault("D23", "the same batches")
def test_D23_files_that_go_while_training_are_not_missed(folder, tmp_path):
    data = setup(folder, tmp_path)
    before = data.train_dataloader().dataset[BatchRequest(range(8), 4, 8)].hr
    for path in folder.iterdir():
        path.unlink()
    assert torch.equal(data.train_dataloader().dataset[BatchRequest(range(8), 4, 8)].hr, before)


@pytest.mark.parametrize("what", ["replaced", "deleted"])
@pytest.mark.fault("D23", "refused by name, nothing kept of it")
def test_D23_a_file_that_changes_while_it_is_read(folder, tmp_path, monkeypatch, what):
    """Its pixels would lie in the cache under the old content's key, for every run to come."""
    import sr_lightning.data.cache.builder as building

    def late(path):
        found = decode(path)
        if path.name == "img_3.png":
            path.write_bytes(encoded("PNG")) if what == "replaced" else path.unlink()
        return found

    monkeypatch.setattr(building, "decode", late)
    with pytest.raises(UserError, match=r"img_3\.png: (was changed while it was read|No such file)"):
        ImageStore(find_images(folder), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.fault("D23", "made again")
def test_D23_a_cache_that_was_cut_or_emptied_is_made_again(folder, tmp_path):
    paths = find_images(folder)
    first = ImageStore(paths, tmp_path / "cache")
    expected = first[5].copy()
    (pixels,), (index,) = (list((tmp_path / "cache").glob(f"*.{kind}")) for kind in ("rgb8", "json"))
    for spoil_it in (lambda: os.truncate(pixels, 1000), lambda: index.write_text(""), lambda: pixels.unlink()):
        spoil_it()
        np.testing.assert_array_equal(ImageStore(paths, tmp_path / "cache")[5], expected)
    late = ImageStore(paths, tmp_path / "cache")
    pixels.unlink()
    with pytest.raises(UserError, match=r"paths\.cache: cannot read .*rgb8: No such file"):
        late[0]
