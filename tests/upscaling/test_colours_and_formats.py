"""Images of every kind in every format: colour, alpha and depth, inks through their profile, metadata."""

import io
import itertools
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from sr_lightning.image.source_image import read_source
from sr_lightning.upscale import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def of_every_kind(folder, image):
    """An image of each mode, with what its name says: grey or colour, alpha, bits."""
    from sr_lightning.image.encoder import Layout, write_image

    folder.mkdir()
    picture = Image.fromarray(image(20, 24, 0))
    opacity = Image.fromarray(np.repeat(np.array([0] * 8 + [100] * 4 + [255] * 12, np.uint8)[None], 20, 0))
    for mode in ("1", "L", "P", "RGB", "CMYK"):
        picture.convert(mode).save(folder / f"{mode}.tif")
    for mode in ("LA", "RGBA"):
        faded = picture.convert(mode)
        faded.putalpha(opacity)
        faded.save(folder / f"{mode}.png")
    clear = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    clear.save(folder / "P clear.png", transparency=3)
    grey = np.dstack([np.asarray(picture.convert("L")), np.asarray(opacity)]).astype(np.uint16) * 257
    write_image(folder / "LA 16 TIFF.tif", [grey], Layout(20, 24, 2, 16), format="tiff")
    for channels, name in ((1, "L 16"), (2, "LA 16"), (3, "RGB 16"), (4, "RGBA 16")):
        levels = np.asarray(Image.open(folder / f"{('L.tif', 'LA.png', 'RGB.tif', 'RGBA.png')[channels - 1]}"))
        wide = levels.reshape(20, 24, channels).astype(np.uint16) * 257
        write_image(folder / f"{name}.png", [wide], Layout(20, 24, channels, 16), format="png")
    return folder


@pytest.mark.parametrize("name", ["png", "tiff", "jpeg", "webp", "avif"])
@pytest.mark.fault("I6", "the same mode, or said")
@pytest.mark.fault("I7", "16 bits, or said")
def test_every_kind_of_image_in_every_format(tmp_path, image, capsys, name):
    """What comes out has the colour, alpha and depth of what went in, or the run says what is lost, once.

    A rerun knows all of them.
    """
    of_every_kind(tmp_path / "in", image)
    command = ["input=in", "output=out", "scale=2", f"format={name}"]
    assert main(command) == 0
    said = " ".join(capsys.readouterr().out.split())
    reference = np.asarray(Image.fromarray(image(20, 24, 0)).resize((48, 40), Image.Resampling.BICUBIC)).astype(float)
    outputs = sorted((tmp_path / "out").iterdir())
    assert len(outputs) == 13
    for path in outputs:
        kind = path.stem.removesuffix("_x2")
        is_grey, has_alpha, is_wide = kind[0] in "L1", "A" in kind or "clear" in kind, "16" in kind
        source = read_source(path)
        assert source.levels.shape[:2] == (40, 48)
        holds_alpha, holds_grey, holds_16 = name != "jpeg", name in ("png", "tiff", "jpeg"), name in ("png", "tiff")
        assert source.levels.shape[2] == (1 if is_grey and holds_grey else 3) + (has_alpha and holds_alpha), path
        assert source.levels.dtype == (np.uint16 if is_wide and holds_16 else np.uint8), path
        if kind in ("1", "P clear"):
            continue  # dithered, and of few colours
        levels = source.levels / (257 if source.levels.dtype == np.uint16 else 1)
        colour = levels[..., :3] if levels.shape[2] >= 3 else levels[..., :1].repeat(3, 2)
        expected = reference if not is_grey else (reference @ (0.299, 0.587, 0.114))[..., None].repeat(3, 2)
        opaque = slice(30, 48) if has_alpha else slice(0, 48)
        assert np.abs(colour - expected)[:, opaque].mean() < (20 if kind == "P" else 10), path  # dithered
        if has_alpha and holds_alpha:
            assert (levels[:, :13, -1] == 0).all()
            assert (levels[:, 28:, -1] == 255).all()
    for text, is_said in (
        ("16 bits a channel become 8", not holds_16),
        ("transparent parts are put on white", not holds_alpha),
        ("greyscale is written as RGB", not holds_grey),
        ("palettes become RGB", True),
        ("CMYK without a profile becomes RGB by its formula", True),
    ):
        assert said.count(text) == is_said
    assert main(command) == 0
    assert "13 images done before" in capsys.readouterr().out


def cmyk_profile():
    """A colour profile of a printer that never was: cyan and yellow ink are swapped, and black ink is pale.

    ICC.1:2001-04, version 2: header, tag table, and a table of type `mft1` from CMYK to Lab with two points an axis.
    """
    table = bytearray()
    for c, m, y, k in itertools.product((0, 1), repeat=4):
        red, green, blue = (1 - y) * (1 - k / 4), (1 - m) * (1 - k / 4), (1 - c) * (1 - k / 4)
        pixel = Image.new("RGB", (1, 1), tuple(round(255 * value) for value in (red, green, blue)))
        lab = ImageCms.profileToProfile(
            pixel, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
        table += bytes(lab.getpixel((0, 0)))
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * int(i % 4 == 0) for i in range(9)))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + ramp * 4 + bytes(table) + ramp * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)  # D50
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": text, b"wtpt": white, b"A2B0": lut, b"cprt": b"text" + bytes(4) + b"none\0"}
    body, entries, place = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        entries += name + struct.pack(">II", place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = place + len(body)
    header = struct.pack(">I4xI4s4s4s12x4s", size, 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp")
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + body


def test_inks_have_the_colours_that_their_profile_gives_them(tmp_path):
    for inks, colour in (
        ((255, 0, 0, 0), (255, 255, 0)),
        ((0, 0, 255, 0), (0, 255, 255)),
        ((0, 0, 0, 255), (191,) * 3),
    ):
        Image.new("CMYK", (8, 8), inks).save(tmp_path / "ink.tif", icc_profile=cmyk_profile())
        assert np.abs(read_source(tmp_path / "ink.tif").levels - np.array(colour)).max() <= 10  # Lab has 8 bits


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_goes_through_its_profile(tmp_path, image, capsys, suffix):
    inks = Image.merge("CMYK", [Image.fromarray(image(24, 24, i)).convert("L") for i in range(4)])
    inks.save(f"inks.{suffix}", icc_profile=cmyk_profile(), **({"quality": 100} if suffix == "jpg" else {}))
    assert main([f"input=inks.{suffix}", "output=out.png", "scale=2"]) == 0
    assert "CMYK becomes sRGB through the embedded profile (1 image)" in capsys.readouterr().out
    with Image.open(f"inks.{suffix}") as file:
        levels = file.convert("CMYK")
    profiles = ImageCms.ImageCmsProfile(io.BytesIO(cmyk_profile())), ImageCms.createProfile("sRGB")
    through = ImageCms.applyTransform(levels, ImageCms.buildTransform(*profiles, "CMYK", "RGB"))
    by_formula = levels.convert("RGB")
    source = read_source(f"inks.{suffix}")
    np.testing.assert_array_equal(source.levels, np.asarray(through))
    assert np.abs(np.asarray(through).astype(int) - np.asarray(by_formula)).mean() > 20  # they can be told apart
    shrunken = np.asarray(Image.open("out.png").resize((24, 24), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(shrunken - np.asarray(through)).mean() < 10
    with Image.open("out.png") as out:
        assert "icc_profile" not in out.info  # which would be of the inks


@pytest.mark.fault("I11", "upright, sizes mended, profile kept")
def test_metadata_is_kept_mended_or_dropped(tmp_path, image):
    exif = Image.Exif()
    exif[0x0112], exif[271] = 6, "Maker"
    exif[0x8769] = {40962: 24, 40963: 20, 33434: 0.01}
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(image(20, 24, 0)).save("a.jpg", exif=exif, icc_profile=icc, quality=95)
    assert main(["input=a.jpg", "scale=2", "output=kept.webp"]) == 0
    with Image.open("kept.webp") as kept:
        assert kept.size == (40, 48)  # upright
        assert kept.info["icc_profile"] == icc
        tags = kept.getexif()
        assert 0x0112 not in tags
        assert (tags[271], tags[305]) == ("Maker", "sr_lightning 0.1.0")
        details = tags.get_ifd(0x8769)
        assert (details[40962], details[40963], float(details[33434])) == (40, 48, 0.01)
    assert main(["input=a.jpg", "scale=2", "output=dropped.webp", "metadata=drop"]) == 0
    with Image.open("dropped.webp") as dropped:
        assert "icc_profile" not in dropped.info
        assert sorted(dropped.getexif()) == [305, 0x9213]
