"""Images made by other programs: matched by name, refused where that is not certain, scored as networks are."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.evaluations import QUICK, by_scikit_image, document, mine, only_run, per_image, rows, save_network, table
from sr_lightning.data.cache.store import ImageStore
from sr_lightning.data.datasets import EvalImages
from sr_lightning.data.files import find_images
from sr_lightning.data.images import Images
from sr_lightning.errors import UserError
from sr_lightning.evaluate import main
from sr_lightning.evaluation.saved_predictions import match_saved_images
from sr_lightning.image.color import read_rgb

pytestmark = pytest.mark.usefixtures("_hydras_logging")


@pytest.fixture
def theirs(folder, tmp_path):
    """What another program might have made of `folder` at x4: noisy copies, cropped to a multiple of the scale."""
    target = tmp_path / "theirs"
    target.mkdir()
    rng = np.random.default_rng(0)
    for path in sorted(folder.iterdir()):
        hr = read_rgb(path)
        hr = hr[: hr.shape[0] // 4 * 4, : hr.shape[1] // 4 * 4].astype(float)
        sr = (hr + rng.normal(0, 5, hr.shape)).clip(0, 255).round().astype(np.uint8)
        Image.fromarray(sr).save(target / path.name)
    return target


def scored(given, folder, *more):
    """The exit status of an evaluation of images."""
    return main([f"predictions={given}", "scale=4", *mine(folder), *QUICK, *more])


def matched(given, folder, tmp_path):
    """The first step of such an evaluation, which goes by names and sizes alone."""
    images = EvalImages([Images("Mine", ImageStore(find_images(folder), tmp_path / "cache"))], [4])
    return match_saved_images("theirs", str(given), images)


def rename(folder, pattern):
    for path in sorted(folder.iterdir()):
        target = folder / pattern.format(path.stem)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)


def test_a_saved_evaluation_scored_again_gives_the_identical_figures(folder, tmp_path):
    file = save_network(tmp_path / "a.ckpt")
    settings = ["save_pictures=true", "metrics=[ms_ssim]", *mine(folder), *QUICK]
    assert main([f"checkpoint={{ours: {file}}}", "hydra.run.dir=first", *settings]) == 0
    again = ["metrics=[ms_ssim]", *mine(folder), *QUICK, "hydra.run.dir=again"]
    assert main(["predictions={ours: first/pictures/ours}", "scale=4", *again]) == 0
    kept = ("set", "scale", "name", "key", "method", "psnr_y", "ssim_y", "bicubic_psnr_y", "gain", "ms_ssim")
    first, second = ([{key: row[key] for key in kept} for row in per_image(Path(run))] for run in ("first", "again"))
    assert first == second
    for a, b in zip(document(Path("first"))["rows"], document(Path("again"))["rows"], strict=True):
        assert [a[k] for k in ("psnr_y", "ssim_y", "method")] == [b[k] for k in ("psnr_y", "ssim_y", "method")]


def test_figures_are_scikit_images_and_bicubic_stands_beside(folder, theirs, capsys):
    assert scored(theirs, folder) == 0
    assert [row["method"] for row in document()["rows"]] == ["bicubic", "theirs"]
    row = document()["rows"][1]
    assert (row["checkpoint"], row["predictions"], row["params"]) == (None, str(theirs), None)
    assert row["seconds_per_image"] is None
    expected = []
    for path in sorted(folder.iterdir()):
        hr, sr = read_rgb(path), read_rgb(theirs / path.name)
        expected.append(by_scikit_image(sr, hr[: sr.shape[0], : sr.shape[1]], 4))
    assert (row["psnr_y"], row["ssim_y"]) == pytest.approx(np.mean(expected, axis=0), abs=1e-6)
    assert "theirs is better than bicubic by" in " ".join(table(capsys).split())


@pytest.mark.parametrize(
    "pattern",
    [
        "{}_x4.png",
        "{}x4.png",
        "{}_x4_SR.png",
        "{}-out.PNG",
        "{}_EDSR_baseline.png",
        "Mine/{}.png",
        "x4/{}.png",
        "X4/Mine/{}_x4.png",
        "mine/4/{}.bmp",
    ],
)
def test_names_that_programs_write(pattern, folder, theirs, tmp_path):
    if pattern.endswith("bmp"):
        for path in list(theirs.iterdir()):
            Image.open(path).save(path.with_suffix(".bmp"))
            path.unlink()
    rename(theirs, pattern)
    found = matched(theirs, folder, tmp_path).files
    assert found == {("Mine", 4, i): theirs / pattern.format(f"img_{i}") for i in range(6)}


def test_renamed_images_have_the_figures_of_the_others(folder, theirs):
    assert scored(theirs, folder, "hydra.run.dir=plain") == 0
    rename(theirs, "x4/{}.png")
    assert scored(theirs, folder, "hydra.run.dir=renamed") == 0
    assert document(Path("plain"))["rows"][1]["psnr_y"] == document(Path("renamed"))["rows"][1]["psnr_y"]


def test_several_programs_sets_scales_and_networks_in_one_table(folder, theirs, tmp_path):
    shutil.copytree(theirs, tmp_path / "grid/x4")
    rename(tmp_path / "grid/x4", "{}_grid.png")
    for path in sorted((tmp_path / "grid/x4").iterdir()):
        hr = Image.open(folder / path.name.replace("_grid", ""))
        (tmp_path / "grid/x2").mkdir(exist_ok=True)
        hr.crop((0, 0, hr.width // 2 * 2, hr.height // 2 * 2)).convert("RGB").save(tmp_path / "grid/x2" / path.name)
    shutil.copytree(theirs, tmp_path / "b/theirs")
    given = f"predictions=[{theirs},{tmp_path}/b/theirs,{tmp_path}/grid]"
    checkpoint = save_network(tmp_path / "run/checkpoints/best.ckpt")
    assert main([given, f"checkpoint={checkpoint}", "scale=[4]", *mine(folder), *QUICK]) == 0
    names = [row["method"] for row in document()["rows"]]
    assert names[:2] == ["bicubic", "EDSR"]
    assert names[3:] == ["b/theirs", "grid"]
    assert names[2].endswith("/theirs")
    shutil.rmtree("runs")
    explicit = f"predictions={{ours: '{tmp_path}/grid/x{{scale}}'}}"
    assert main([explicit, "scale=[2,4]", *mine(folder), *QUICK]) == 0
    assert [key[:3] for key in rows()] == [("Mine", scale, name) for scale in (2, 4) for name in ("bicubic", "ours")]
    assert document()["rows"][1]["psnr_y"] is None  # the images themselves


def missing(theirs):
    (theirs / "img_2.png").unlink()
    (theirs / "img_4.png").unlink()


def of_another_size(theirs):
    for name in ("img_1.png", "img_3.png"):
        image = Image.open(theirs / name)
        image.resize((image.width + 1, image.height)).save(theirs / name)


def twice(theirs):
    (theirs / "other").mkdir()
    shutil.copy(theirs / "img_3.png", theirs / "other" / "img_3.png")


def two_suffixes(theirs):
    for path in list(theirs.iterdir()):
        shutil.copy(path, path.with_name(f"{path.stem}_x4.png"))


def of_another_scale(theirs):
    rename(theirs, "{}_x2.png")


def transparent(theirs):
    image = Image.open(theirs / "img_3.png").convert("RGBA")
    image.putpixel((3, 3), (0, 0, 0, 9))
    image.save(theirs / "img_3.png")


def grey(theirs):
    Image.open(theirs / "img_3.png").convert("L").save(theirs / "img_3.png")


def damaged(theirs):
    (theirs / "img_3.png").write_bytes((theirs / "img_3.png").read_bytes()[:300])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (missing, "Mine x4: no image for img_2, img_4, though there is img_0.png"),
        (transparent, "img_3.png: is partly transparent"),
        (grey, "img_3.png: is grey, but img_3.png has colours"),
        (damaged, "img_3.png: cannot be decoded"),
    ],
)
@pytest.mark.fault("I12", "refused, the file is named")
def test_images_that_cannot_be_scored_are_refused_by_name(change, said, folder, theirs, capsys):
    change(theirs)
    assert scored(theirs, folder) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    assert list(Path("runs/evaluate").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (of_another_size, "img_3.png: is 129x96, allowed: 128x96"),
        (twice, "several files fit img_3: "),
        (two_suffixes, "several files fit img_0: "),
        (of_another_scale, "no file is named after a test image; expected img_0.png, img_0_x4.png and the like"),
    ],
)
@pytest.mark.fault("I12", "refused, the file is named")
def test_images_that_cannot_be_matched_are_named(change, said, folder, theirs, tmp_path):
    change(theirs)
    with pytest.raises(UserError) as caught:
        matched(theirs, folder, tmp_path)
    assert said in str(caught.value)


def test_copies_of_lr_and_hr_beside_the_results_are_passed_over(folder, theirs):
    rename(theirs, "{}_SR.png")
    for path in list(theirs.iterdir()):
        shutil.copy(folder / path.name.replace("_SR", ""), path.with_name(path.name.replace("_SR", "_HR")))
    assert scored(theirs, folder) == 0
    assert document()["rows"][1]["psnr_y"] is not None


def test_sixteen_bits_opaque_alpha_and_grey_test_images(folder, theirs):
    assert scored(theirs, folder, "hydra.run.dir=plain") == 0
    Image.open(theirs / "img_0.png").convert("RGBA").save(theirs / "img_0.png")
    assert scored(theirs, folder, "hydra.run.dir=alpha") == 0
    assert per_image(Path("plain"))[0]["psnr_y"] == per_image(Path("alpha"))[0]["psnr_y"]
    for place in (folder, theirs):
        Image.open(place / "img_1.png").convert("L").save(place / "img_1.png")
    assert scored(theirs, folder, "hydra.run.dir=rgb") == 0
    levels = np.asarray(Image.open(theirs / "img_1.png")).astype(np.uint16) * 257
    Image.fromarray(levels).save(theirs / "img_1.png")
    assert scored(theirs, folder, "hydra.run.dir=wide") == 0
    assert [r["psnr_y"] for r in per_image(Path("rgb"))] == [r["psnr_y"] for r in per_image(Path("wide"))]


def test_one_file_for_two_scales_is_refused(tmp_path, image, capsys):
    """128 is a multiple of 2 and 4: the size would not tell that the figures of one scale are the other's."""
    for name in ("hr", "sr"):
        (tmp_path / name).mkdir()
        Image.fromarray(image(128, 128, 0)).save(tmp_path / name / "a.png")
    assert main([f"predictions={tmp_path}/sr", "scale=[2,4]", *mine(tmp_path / "hr"), *QUICK]) == 2
    assert "fits Mine x2 and Mine x4" in capsys.readouterr().err


def test_names_that_begin_alike_and_names_that_repeat_in_sub_folders(tmp_path, image):
    for name in ("img_1", "img_1_2", "img_10", "a/same", "b/same"):
        (tmp_path / "hr" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image(48, 48, len(name))).save(tmp_path / "hr" / f"{name}.png")
    settings = [*mine(tmp_path / "hr"), *QUICK, "scale=4"]
    assert main(["model=bicubic", *settings, "save_pictures=true", "hydra.run.dir=first"]) == 0
    assert main(["predictions={again: first/pictures/bicubic}", *settings, "hydra.run.dir=second"]) == 0
    shutil.copytree(tmp_path / "hr", tmp_path / "sr")
    for path in list((tmp_path / "sr").rglob("*.png")):
        path.rename(path.with_name(f"{path.stem}_out.png"))
    assert main([f"predictions={{copies: {tmp_path}/sr}}", *settings, "hydra.run.dir=third"]) == 0
    for row in per_image(Path("second")):
        assert row["psnr_y"] == row["bicubic_psnr_y"]
    assert {row["psnr_y"] for row in per_image(Path("third")) if row["method"] == "copies"} == {"inf"}


def test_a_benchmark_is_checked_and_published_rows_stand_beside(sr_data, tmp_path, monkeypatch):
    monkeypatch.setenv("SR_DATA", str(sr_data))
    settings = ["scale=4", "sets=[Set5]", *QUICK]
    assert main(["model=bicubic", *settings, "save_pictures=true", "hydra.run.dir=first"]) == 0
    assert main(["predictions=first/pictures/bicubic", *settings, "hydra.run.dir=second"]) == 0
    found = json.loads(Path("second/results.json").read_text())
    base, again = found["rows"]
    assert again["method"] == "bicubic (images)"
    assert (again["psnr_y"], again["ssim_y"], again["gain"]) == (base["psnr_y"], base["ssim_y"], 0)
    assert found["published"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["predictions=nowhere", "scale=4"], "predictions: nowhere is not there; allowed: a folder of images"),
        (["predictions=."], "scale: must be given for the images of another program"),
        (["predictions=[.,.]", "scale=4"], "predictions: . is named twice"),
        (["predictions={bicubic: .}", "scale=4"], "predictions.bicubic: bicubic stands in every table"),
        (["predictions=[]", "scale=4"], "predictions: found an empty list"),
        (["predictions=3", "scale=4"], "predictions: 3 is not there"),
        (["predictions=.", "scale=4", "tile=64"], "tile: found 64, allowed: nothing; images are scored as they are"),
    ],
)
def test_bad_settings_are_told_before_torch_is_needed(overrides, said, capsys):
    assert main(overrides) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_folders_may_be_called_as_a_file_system_allows(folder, theirs, tmp_path):
    odd = theirs.rename(tmp_path / "a b,c=[d] x4")
    assert scored(odd, folder, "hydra.run.dir=odd") == 0
    assert document(Path("odd"))["rows"][1]["predictions"] == str(odd)
    assert scored(f"{tmp_path}/a b,c=[d] x{{scale}}", folder, "hydra.run.dir=placeholder") == 0


def test_the_run_folder_is_the_one_that_is_printed(folder, theirs, capsys):
    assert scored(theirs, folder) == 0
    assert only_run().name in capsys.readouterr().out
