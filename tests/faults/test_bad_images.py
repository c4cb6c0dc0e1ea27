"""Images that cannot be used: refused by name, all at once; or left out and counted (D1 to D3, D10, D15)."""

import io
import logging
import re
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import Image

from helpers.faulty_images import NOISE, WIDE, chunk, encoded, names, setup
from sr_lightning.errors import UserError
from sr_lightning.image.color import read_rgb
from sr_lightning.image.decoder import decode


def flipped(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0x10]) + data[len(data) // 2 + 1 :]


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
