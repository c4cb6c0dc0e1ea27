"""Benchmarks are recognised by content, and what is wrong with them is said."""

import hashlib
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from sr_lightning.data.benchmarks import recognition as benchmarks
from sr_lightning.data.benchmarks import reference
from sr_lightning.data.benchmarks.recognition import comparability_findings, recognise
from sr_lightning.data.benchmarks.reference import Benchmark, BenchmarkImage, published_rows, reference_bicubic
from sr_lightning.data.duplicates.fingerprint import perceptual_hash, pixel_hash, thumbnail
from sr_lightning.errors import UserError
from sr_lightning.image.color import read_rgb
from sr_lightning.metrics.psnr_ssim import psnr, ssim

SCENES = {"a.png": "astronaut.png", "b.png": "coffee.png", "c.png": "chelsea.png", "d.png": "rocket.jpg"}
SKIMAGE = Path(skimage.data.__file__).parent


def known(rgb):
    height, width, _ = rgb.shape
    crop = rgb[: height // 12 * 12, : width // 12 * 12]
    crops = {pixel_hash(crop): 12} if crop.shape != rgb.shape else {}
    return BenchmarkImage((height, width), pixel_hash(rgb), perceptual_hash(thumbnail(rgb)), crops)


@pytest.fixture
def four(tmp_path, monkeypatch):
    """A benchmark of four photographs, and a copy of it under another name."""
    folder = tmp_path / "holiday"
    folder.mkdir()
    images, files = {}, {}
    for name, source in SCENES.items():
        rgb = read_rgb(SKIMAGE / source)
        rgb = rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2]
        Image.fromarray(rgb).save(folder / name)
        images[name] = known(rgb)
        files[hashlib.sha256((folder / name).read_bytes()).hexdigest()] = name
    four = Benchmark("Four", files, images, {4: (28.0, 0.8)}, {4: {"LR made by something else": (27.5, 0.79)}})
    hidden = Benchmark("Hidden", {digest[::-1]: name for digest, name in files.items()}, {}, {4: (25.0, 0.7)}, {})
    monkeypatch.setattr(benchmarks, "load_benchmarks", lambda: {"Four": four, "Hidden": hidden})
    return folder


def look(folder):
    return recognise(sorted(folder.iterdir()))


def test_an_exact_copy_under_other_names(four):
    for i, path in enumerate(sorted(four.iterdir(), reverse=True)):
        Image.open(path).save(four / f"holiday {i}.bmp")  # another format, the same pixels
        path.unlink()
    found = look(four)
    assert (found.benchmark, found.is_exact, found.images) == ("Four", True, 4)
    assert comparability_findings(found, 4, 28.004, 0.8004) == []
    assert comparability_findings(found, 3, 1.0, 0.1) == []  # no reference at this scale


def test_an_incomplete_set_names_what_is_missing(four):
    (four / "c.png").unlink()
    found = look(four)
    assert (found.benchmark, found.is_exact, found.missing) == ("Four", False, ("c.png",))
    assert comparability_findings(found, 4, 28.0, 0.8) == [
        "Four is incomplete: 3 of 4 images are there; missing: c.png"
    ]


def test_altered_images_are_told_apart(four):
    images = {path.name: Image.open(path).convert("RGB") for path in sorted(four.iterdir())}
    for path in list(four.iterdir()):
        path.unlink()
    images["a.png"].resize((256, 256), Image.Resampling.BICUBIC).save(four / "1.png")
    images["b.png"].save(four / "2.jpg", quality=75)
    images["c.png"].transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(four / "3.png")
    width, height = images["d.png"].size
    assert (width % 12, height % 12) != (0, 0)
    images["d.png"].crop((0, 0, width // 12 * 12, height // 12 * 12)).save(four / "4.png")
    found = look(four)
    assert found.benchmark == "Four"
    assert not found.is_exact
    assert (found.missing, found.extra) == ((), ())
    assert found.modified["1.png"] == "a.png, resized from 512x512 to 256x256"
    assert found.modified["2.jpg"] == "b.png, other pixels: re-encoded or retouched"
    assert found.modified["3.png"] == "c.png, mirrored left-right"
    assert found.modified["4.png"] == "d.png, cropped to a multiple of 12 (from 640x426 to 636x420)"
    (finding,) = comparability_findings(found, 4, 28.0, 0.8)
    assert finding.startswith("Four was altered: 1.png (a.png, resized from 512x512 to 256x256), 2.jpg (b.png")


def test_an_odd_last_row_that_no_scale_uses_is_no_difference(four):
    path = four / "b.png"
    rgb = np.asarray(Image.open(path))
    assert rgb.shape[:2] == (400, 600)
    Image.fromarray(np.pad(rgb, ((0, 1), (0, 1), (0, 0)), mode="edge")).save(path)
    assert look(four).is_exact
    Image.fromarray(np.pad(rgb, ((0, 2), (0, 0), (0, 0)), mode="edge")).save(path)  # 402 rows: one more at x3
    assert list(look(four).modified) == ["b.png"]


def test_further_images_are_named(four):
    Image.open(SKIMAGE / "motorcycle_left.png").save(four / "mine.png")
    Image.open(four / "a.png").save(four / "z.jpg")  # a.png is there already
    found = look(four)
    assert found.benchmark == "Four"
    assert found.extra == ("mine.png", "z.jpg")
    assert comparability_findings(found, 4, 28.0, 0.8) == ["Four holds images that are not its own: mine.png, z.jpg"]


def test_another_row_than_bicubics_is_explained(four):
    found = look(four)
    (finding,) = comparability_findings(found, 4, 27.501, 0.7903)
    assert "bicubic gives 27.501 dB / 0.7903, the reference is 28.000 dB / 0.8000" in finding
    assert finding.endswith("it is the row of LR made by something else")
    (finding,) = comparability_findings(found, 4, 26.0, 0.75)
    assert finding.endswith("no kernel or protocol that is known gives this row")
    assert comparability_findings(found, 4, 28.006, 0.8) != []
    assert comparability_findings(found, 4, 28.0, 0.8006) != []


def test_files_alone_are_enough_to_recognise_a_set(four, monkeypatch):
    files = benchmarks.load_benchmarks()["Four"].files
    hidden = Benchmark("Hidden", files, {}, {4: (25.0, 0.7)}, {})
    monkeypatch.setattr(benchmarks, "load_benchmarks", lambda: {"Hidden": hidden})
    assert look(four).is_exact
    Image.open(four / "a.png").save(four / "a.bmp")
    (four / "a.png").unlink()
    found = look(four)
    assert (found.missing, found.extra) == (("a.png",), ("a.bmp",))
    assert any("known by their files only" in finding for finding in comparability_findings(found, 4, 25.0, 0.7))


def test_other_images_are_no_benchmark(four, folder, tmp_path):
    assert look(folder) is None
    assert recognise([four / "a.png"]) is None  # one of four
    assert recognise([four / "a.png", *sorted(folder.iterdir())]) is None
    (folder / "img_0.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"img_0\.png"):
        look(folder)


def test_the_tables_of_the_benchmarks_are_whole():
    sets = benchmarks.load_benchmarks()
    assert {name: len(known.files) for name, known in sets.items()} == {
        "Set5": 5,
        "Set14": 14,
        "BSD100": 100,
        "Urban100": 100,
    }
    for known in sets.values():
        assert set(known.images) in (set(), set(known.files.values()))
        assert set(known.bicubic) == {2, 3, 4}
    assert reference_bicubic("Urban100", 3) == (24.458, 0.7352)
    assert reference_bicubic("Set5", 8) is None
    assert reference_bicubic("Mine", 2) is None


def test_a_benchmark_costs_one_entry(four, tmp_path, monkeypatch, capsys):
    """The script adds it from a folder of images; nothing else names it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "scripts/maintenance"))
    script = importlib.import_module("benchmark_tables")
    table = tmp_path / "benchmarks.json"
    table.write_text(reference.BENCHMARKS.read_text())
    for module in (script, reference):
        monkeypatch.setattr(module, "BENCHMARKS", table)
    for path in four.iterdir():
        Image.open(path).crop((0, 0, 72, 72)).save(path)
    monkeypatch.setattr("sys.argv", ["benchmark_tables", f"Mine={four}"])
    script.main()
    monkeypatch.setattr(benchmarks, "load_benchmarks", reference.load_benchmarks.__wrapped__)
    assert len(benchmarks.load_benchmarks()) == 5
    found = look(four)
    assert (found.benchmark, found.is_exact) == ("Mine", True)
    bicubic = benchmarks.load_benchmarks()["Mine"].bicubic
    assert set(bicubic) == {2, 3, 4}
    assert comparability_findings(found, 4, *bicubic[4]) == []
    (four / "a.png").unlink()
    assert comparability_findings(look(four), 4, 0, 0) == [
        "Mine is incomplete: 3 of 4 images are there; missing: a.png"
    ]


def test_published_rows():
    rows = {(row.method, row.training): row for row in published_rows("Set5", 4)}
    assert (rows["VDSR", "291"].psnr, rows["VDSR", "291"].ssim, rows["VDSR", "291"].params) == (31.35, 0.8838, "665K")
    assert rows["SwinIR", "DF2K"].psnr == 32.92
    assert rows["ESPCN", "T91"].ssim is None
    assert rows["ESPCN", "T91"].source == "Shi et al., CVPR 2016; figures read in: Lornatang/ESPCN-PyTorch"
    assert all("; figures read in: " in row.source for row in rows.values() if row.method != "Bicubic")
    assert ("IDN", "291") not in {(row.method, row.training) for row in published_rows("Set5", 2)}
    for name in ("Set5", "Set14", "BSD100", "Urban100"):
        for scale in (2, 3, 4):
            for row in published_rows(name, scale):
                if row.method == "Bicubic":  # papers resize the rounded Y plane: up to 0.1 dB lower
                    assert 0 <= reference_bicubic(name, scale)[0] - row.psnr + 0.006 < 0.1
                else:
                    assert row.psnr > reference_bicubic(name, scale)[0]
    assert published_rows("Mine", 4) == []


@pytest.mark.parametrize("name", ["Set5", "Set14"])
def test_the_real_sets_are_recognised_under_another_name(sr_data, tmp_path, name):
    for i, path in enumerate(sorted((sr_data / "test" / name).iterdir())):
        Image.open(path).save(tmp_path / f"photo{i}.bmp")
    found = recognise(sorted(tmp_path.glob("*.bmp")))
    assert (found.benchmark, found.is_exact) == (name, True)


def test_set5_made_smaller_and_incomplete(sr_data, tmp_path):
    for path in sorted((sr_data / "test/Set5").iterdir())[1:]:
        image = Image.open(path)
        image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC).save(
            tmp_path / f"{path.stem}.jpg"
        )
    found = recognise(sorted(tmp_path.glob("*.jpg")))
    assert (found.benchmark, found.missing, found.extra) == ("Set5", ("img_001.png",), ())
    assert found.modified["img_002.jpg"] == "img_002.png, resized from 288x288 to 144x144"
    assert len(comparability_findings(found, 4, 28.429, 0.8111)) == 2


def test_training_images_are_no_benchmark(sr_data):
    assert recognise(sorted((sr_data / "train/T91").iterdir())[:40]) is None


@pytest.mark.parametrize(("kernel", "what"), [("bicubic", None), ("bilinear", "MATLAB's bilinear")])
def test_the_projects_own_row_is_judged_by_tables_it_did_not_make(sr_data, kernel, what):
    from fractions import Fraction

    import torch

    from sr_lightning.image.resize import resize

    rows = []
    paths = sorted((sr_data / "test/Set5").iterdir())
    for path in paths:
        hr = torch.from_numpy(read_rgb(path).copy()).permute(2, 0, 1)[None]
        hr = hr[..., : hr.shape[-2] // 4 * 4, : hr.shape[-1] // 4 * 4]
        sr = resize(resize(hr, Fraction(1, 4), kernel=kernel), 4)
        rows.append((float(psnr(sr, hr, shave=4)), float(ssim(sr, hr, shave=4))))
    findings = comparability_findings(recognise(paths), 4, *np.mean(rows, axis=0))
    assert [what in finding for finding in findings] == ([True] if what else [])


def test_no_pixels_are_stored():
    table = json.loads((Path(benchmarks.__file__).parent / "benchmarks.json").read_text())
    longest = max(len(value) for known in table.values() for p in known["pictures"].values() for value in p.values())
    assert longest <= 64  # a hash in hexadecimal digits
