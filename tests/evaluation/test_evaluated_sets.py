"""The test sets of an evaluation: benchmarks known by their content, ready-made pairs, sets of presets."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from PIL import Image

from helpers.evaluations import QUICK, document, mine, only_run, per_image, rows, table
from sr_lightning.evaluate import main
from sr_lightning.image.resize import resize

pytestmark = pytest.mark.usefixtures("_hydras_logging")

# DESIGN 4, of Set5 by scale, measured with an independent implementation; test_psnr_ssim has Set14.
BICUBIC = {2: (33.673, 0.9303), 3: (30.403, 0.8689), 4: (28.429, 0.8111)}


def test_bicubics_rows_are_those_of_the_design(sr_data, monkeypatch, capsys):
    monkeypatch.setenv("SR_DATA", str(sr_data))
    assert main(["model=bicubic", "scale=[2,3,4]", "sets=[Set5]", *QUICK]) == 0
    out = table(capsys)
    found = rows()
    assert len(found) == len(BICUBIC)
    for scale, (psnr, ssim) in BICUBIC.items():
        row = found["Set5", scale, "bicubic", None]
        assert row["psnr_y"] == pytest.approx(psnr, abs=0.005)
        assert row["ssim_y"] == pytest.approx(ssim, abs=0.0005)
        assert row["images"] == 5
    assert max(map(len, out.splitlines())) <= 80
    for part in ("Set5 x3", "Protocol: Y (BT.601) of 8-bit RGB", "28.43", "published"):
        assert part in out


def test_a_resized_copy_of_a_benchmark_is_refused_and_kept_only_under_another_name(sr_data, tmp_path, capsys):
    copy = tmp_path / "Set5"
    copy.mkdir()
    for path in sorted((sr_data / "test" / "Set5").glob("*.png")):
        image = Image.open(path)
        image.resize((image.width * 9 // 10, image.height * 9 // 10), Image.Resampling.BICUBIC).save(copy / path.name)
    settings = ["model=bicubic", "scale=4", *mine(copy, "Set5"), *QUICK]
    assert main(settings) == 2
    err = capsys.readouterr().err
    assert "Set5" in err
    assert "no table is printed" in err
    assert "Traceback" not in err
    assert list(Path("runs/evaluate").iterdir()) == []
    assert main([*settings, "self_check=false"]) == 0
    out = capsys.readouterr().out
    assert "Set5 (altered) x4" in out
    assert "published" not in out
    assert list(rows()) == [("Set5 (altered)", 4, "bicubic", None)]


def test_a_benchmark_by_another_kernel_is_refused_with_the_kernels_name(sr_data, monkeypatch, capsys):
    monkeypatch.setenv("SR_DATA", str(sr_data))
    assert main(["model=bicubic", "scale=4", "sets=[Set5]", "data.kernel=bilinear", *QUICK]) == 2
    assert "made by matlab_bilinear; the protocol's are matlab_bicubic" in capsys.readouterr().err


def test_a_set_that_only_bears_a_benchmarks_name_is_refused(folder, capsys):
    assert main(["model=bicubic", "scale=4", *mine(folder, "Set5"), *QUICK]) == 2
    assert "data.test.Set5: the images are not those of Set5" in capsys.readouterr().err


@pytest.mark.fault("I9", "two files, numbered")
def test_ready_made_pairs_and_images_of_the_same_name_in_sub_folders(image, tmp_path):
    for i, sub in enumerate("ab"):
        hr = image(96, 100, i)
        lr = resize(torch.from_numpy(hr).permute(2, 0, 1), Fraction(1, 4)).permute(1, 2, 0).numpy()
        for kind, pixels in (("hr", hr), ("lr", lr)):
            (tmp_path / kind / sub).mkdir(parents=True)
            Image.fromarray(pixels).save(tmp_path / kind / sub / "same.png")
    one = [f"+data.test.A={{hr: {tmp_path}/hr/a, lr: {tmp_path}/lr/a}}", f"+data.test.B={tmp_path}/hr"]
    assert main(["model=bicubic", "scale=4", "sets=[A,B]", "save_pictures=true", *one, *QUICK]) == 0
    a, b, c = per_image()
    assert [(row["set"], row["name"], row["key"]) for row in (a, b, c)] == [
        ("A", "same.png", "0"),
        ("B", "same.png", "0"),
        ("B", "same.png", "1"),
    ]
    assert a["psnr_y"] == b["psnr_y"] != c["psnr_y"]
    assert document()["protocol"]["lr_ready_made"] == ["A"]
    saved = {str(p.relative_to(only_run() / "pictures/bicubic")) for p in only_run().rglob("*.png")}
    assert saved == {"A/x4/same.png", "B/x4/same_0.png", "B/x4/same_1.png"}


def test_a_benchmark_known_by_its_files_only_says_so(folder, capsys):
    assert main(["model=bicubic", "scale=4", f"+data.test.BSD100={folder}", "sets=[BSD100]", *QUICK]) == 2
    assert "the files are not those of BSD100 as `download bsd100` fetches them" in capsys.readouterr().err


def test_a_root_set_to_nothing_is_not_set(monkeypatch, capsys):
    monkeypatch.setenv("SR_DATA", "")
    assert main(["model=bicubic", "scale=4", "sets=[Set5]"]) == 2
    assert "data.test.Set5.hr: data/test/Set5 is not there" in capsys.readouterr().err


def test_sample_needs_no_data_set(capsys):
    assert main(["model=bicubic", "scale=[2]", "data=sample", *QUICK]) == 0
    assert list(rows()) == [("sample_test", 2, "bicubic", None)]


def test_a_preset_for_training_lends_its_test_sets_only(folder):
    settings = ["data=folder", f"+data.test.Mine={folder}", "+data.val.Other=/nowhere", *QUICK]
    assert main(["model=bicubic", "scale=[4]", *settings]) == 0
    assert list(rows()) == [("Mine", 4, "bicubic", None)]
