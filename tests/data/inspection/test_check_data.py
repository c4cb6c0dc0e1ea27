"""Everything that is wrong is found at once, and nothing else."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.images import save_photographs
from sr_lightning.check_data import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


@pytest.fixture
def photographs(tmp_path):
    """Training and test folders of different photographs."""
    return save_photographs(tmp_path / "train", tmp_path / "my test, new", (240, 180))


def arguments(train, test):
    return ["data=folder", f"data.train_dir={train}", "data.val_holdout=1", f"+data.test.Mine={test}"]


def found(path="check_data.json"):
    """Kind -> the names of the files of each wrong finding."""
    document = json.loads(Path(path).read_text())
    kinds = {}
    for finding in document["findings"]:
        if finding["is_wrong"]:
            kinds.setdefault(finding["kind"], []).append(tuple(Path(file).name for file in finding["files"]))
    assert document["ok"] == (not kinds)
    return kinds


def test_a_clean_set(photographs, capsys):
    assert main([*arguments(*photographs), "check_data.output=out/re port.json"]) == 0
    assert found("out/re port.json") == {}
    said = capsys.readouterr().out
    assert "nothing is wrong" in said
    assert "5 files read in" in said
    sets = {s["name"]: s for s in json.loads(Path("out/re port.json").read_text())["sets"]}
    assert {name: (s["role"], s["pictures"]) for name, s in sets.items()} == {
        "train": ("train", 2),
        "train held out": ("val", 1),
        "Mine": ("test", 2),
    }
    assert sets["Mine"]["largest"] == "240x180"
    assert sets["Mine"]["modes"] == {"PNG RGB": 2}


def test_excluded_files_are_not_looked_at(photographs, capsys):
    train, test = photographs
    Image.open(test / "astronaut.png").save(train / "0.png")
    assert main(arguments(train, test)) == 2
    assert found() == {"leakage": [("0.png", "astronaut.png")]}
    assert main([*arguments(train, test), "data.exclude_files=[0.png]"]) == 0
    assert main([*arguments(train, test), "data.exclude_files=[1.png]"]) == 2
    assert "data.exclude_files: 1.png: found among no images of data.train_dir" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.fault("D1", "check_data names every bad file at once")
@pytest.mark.fault("D21", "check_data names copies, flips and crops")
def test_every_fault_is_found_at_once(photographs, capsys):
    train, test = photographs
    astronaut, chelsea = (Image.open(test / f"{name}.png") for name in ("astronaut", "chelsea"))
    astronaut.save(train / "p exact.bmp")
    astronaut.save(train / "p re-encoded.jpg", quality=75)
    chelsea.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(train / "p flipped.png")
    chelsea.crop((30, 10, 230, 160)).save(train / "p cropped.jpg", quality=75)  # 69 % of it
    (train / "truncated.png").write_bytes((train / "coins.png").read_bytes()[:9000])
    (train / "text.png").write_text("no image")
    Image.fromarray(np.random.default_rng(0).random((150, 150), np.float32)).save(train / "float.tif")
    Image.new("1", (20000, 20000)).save(train / "bomb.png")
    Image.open(train / "rocket.png").crop((0, 0, 100, 100)).save(train / "small.png")
    Image.open(train / "coffee.png").transpose(Image.Transpose.ROTATE_180).save(train / "turned.png")
    (train / "notes.txt").write_text("not an image, and no mistake")
    Image.open(test / "astronaut.png").crop((0, 0, 200, 20)).save(test / "flat.png")
    assert main([*arguments(train, test), "data.val_holdout=0"]) == 2
    kinds = found()
    unreadable = {"truncated.png", "text.png", "float.tif", "bomb.png"}
    assert {name for names in kinds["unreadable"] for name in names} == unreadable
    assert {names[0] for names in kinds["too small"]} == {"small.png", "flat.png"}
    assert sorted(kinds["leakage"]) == [
        ("p cropped.jpg", "chelsea.png"),
        ("p exact.bmp", "astronaut.png"),
        ("p flipped.png", "chelsea.png"),
        ("p re-encoded.jpg", "astronaut.png"),
    ]
    repeats = {frozenset(names) for names in kinds["duplicate"]}
    assert frozenset({"coffee.png", "turned.png"}) in repeats
    assert frozenset({"p exact.bmp", "p re-encoded.jpg"}) in repeats
    assert not any("rocket.png" in names or "coins.png" in names for names in repeats)
    said = capsys.readouterr()
    assert "findings, listed above and in check_data.json" in said.err
    assert "Traceback" not in said.err
    for name in (*unreadable, "small.png", "flat.png", "p cropped.jpg", "notes.txt"):
        assert name in said.out
    tail = [line for line in said.out.splitlines() if str(train.parent) not in line]
    assert max(len(line) for line in tail) <= 80


@pytest.mark.fault("D3", "check_data names all of them, and checks the rest")
def test_every_bad_file_of_every_set_is_named_at_once(photographs, tmp_path):
    train, test = photographs
    (tmp_path / "X4").mkdir()
    for path in train.iterdir():
        image = Image.open(path)
        image.resize((image.width // 4, image.height // 4)).save(tmp_path / "X4" / path.name)
    bad = {train / "text.png": b"text", train / "empty.png": b"", tmp_path / "X4/text.png": b"x", test / "cut.png": b""}
    bad[tmp_path / "X4/empty.png"] = b"x"
    for path, content in bad.items():
        path.write_bytes(content)
    Image.fromarray(np.zeros((60, 60), np.float32)).save(train / "float.tif")
    Image.fromarray(np.zeros((60, 60, 3), np.uint8)).save(tmp_path / "X4/float.png")
    Image.fromarray(np.zeros((90, 1, 3), np.uint8)).save(test / "narrow.png")
    misnamed = [os.fsencode(train) + name for name in (b"/\xfe.png", b"/\xff.png")]
    for name in misnamed:
        with open(name, "wb") as file:
            file.write(b"x")
    (train / "gone.png").symlink_to("nowhere")
    pairs = [*arguments(train, test), f"data.train_lr_dir={tmp_path}/X4", "data.val_holdout=0"]
    assert main(pairs) == 2
    findings = json.loads(Path("check_data.json").read_text())["findings"]
    named = {
        kind: {f["files"][0] for f in findings if f["kind"] == kind and f["files"]} for kind in ("unreadable", "files")
    }
    assert named["unreadable"] == {*map(str, bad), str(train / "float.tif")}
    assert named["files"] == {str(train / "gone.png"), *(ascii(os.fsdecode(name)) for name in misnamed)}
    assert [f["files"] for f in findings if f["kind"] == "too small"] == [[str(test / "narrow.png")]]


@pytest.mark.fault("D19", "check_data names them")
def test_an_lr_folder_that_is_missing_at_one_scale(photographs, tmp_path):
    train, test = photographs
    (tmp_path / "X4").mkdir()
    pairs = [*arguments(train, test), "scale=[2,4]", f"data.train_lr_dir={tmp_path}/X{{scale}}", "data.val_holdout=0"]
    for path in train.iterdir():
        image = Image.open(path)
        image.resize((image.width // 4, image.height // 4)).save(tmp_path / "X4" / path.name)
    (tmp_path / "X4/coffee.png").write_bytes(b"x")
    (tmp_path / "X2").mkdir()
    assert main([*pairs, "model=mdsr_baseline"]) == 2
    findings = json.loads(Path("check_data.json").read_text())["findings"]
    assert {finding["kind"] for finding in findings} == {"files", "unreadable"}


@pytest.mark.fault("D19", "check_data names them")
def test_pairs_of_every_scale_are_judged(photographs, tmp_path, capsys):
    train, test = photographs
    for scale in (2, 4):
        (tmp_path / f"X{scale}").mkdir()
        for path in train.iterdir():
            image = Image.open(path)
            small = image.resize((image.width // scale, image.height // scale))
            small.save(tmp_path / f"X{scale}" / f"{path.stem}x{scale}.png")
    pairs = [*arguments(train, test), "scale=[2,4]", f"data.train_lr_dir={tmp_path}/X{{scale}}", "data.val_holdout=0"]
    multi = ["model=mdsr_baseline"]
    assert main([*pairs, *multi]) == 0
    out = capsys.readouterr().out
    assert re.search(r"used for +images +smallest", out)
    assert "11 files (HR and LR) read in" in out  # 3 trained on with two LR each, 2 tested on
    (tmp_path / "X2/coffeex2.png").unlink()
    Image.new("RGB", (10, 10)).save(tmp_path / "X4/rocketx4.png")
    (tmp_path / "X4/coinsx4.png").write_bytes(b"")
    assert main([*pairs, *multi]) == 2
    findings = json.loads(Path("check_data.json").read_text())["findings"]
    said = [(finding["kind"], finding["message"]) for finding in findings]
    assert ("pairs", "10x10 does not pair with 240x180 at x4, which asks for 60x45") in said
    assert any(kind == "pairs" and message.startswith("x2: coffee.png: expected one LR file") for kind, message in said)
    assert [Path(f["files"][0]).name for f in findings if f["kind"] == "unreadable"] == ["coinsx4.png"]
    assert len(said) == 3


@pytest.mark.fault("D19", "check_data names both images")
def test_pairs_whose_names_are_swapped(photographs, tmp_path):
    train, test = photographs
    (tmp_path / "X4").mkdir()
    for path in train.iterdir():
        Image.open(path).resize((60, 45)).save(tmp_path / "X4" / path.name)
    pairs = [*arguments(train, test), f"data.train_lr_dir={tmp_path}/X4", "data.val_holdout=0"]
    assert main(pairs) == 0
    (tmp_path / "X4/coffee.png").rename(tmp_path / "X4/x")
    (tmp_path / "X4/coins.png").rename(tmp_path / "X4/coffee.png")
    (tmp_path / "X4/x").rename(tmp_path / "X4/coins.png")
    assert main(pairs) == 2
    assert sorted(found()["pairs"]) == [("coffee.png", "coffee.png"), ("coins.png", "coins.png")]
    said = [finding["message"] for finding in json.loads(Path("check_data.json").read_text())["findings"]]
    assert f"shows another image, {train}/coins.png" in said


def test_folders_by_name(photographs, capsys):
    train, test = photographs
    Image.open(test / "chelsea.png").save(train / "again.jpg", quality=80)
    assert main([f"check_data.folders={test}"]) == 0  # commas and blanks in it
    assert main([f"check_data.folders=['{train}','{test}']"]) == 2
    assert [set(names) for names in found()["duplicate"]] == [{"again.jpg", "chelsea.png"}]
    assert main(["check_data.folders=nowhere"]) == 2
    assert "nowhere is not a folder" in capsys.readouterr().out


def test_the_default_data_is_clean():
    assert main([]) == 0


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("check_data.output=a.html", "check_data.output: found 'a.html'"),
        ("check_data.output=/proc/no/a.json", "check_data.output: cannot write /proc/no/a.json"),
        ("check_data.folders=[]", "check_data.folders: found []"),
        ("check_data.folder=x", "check_data.folder: no such key; did you mean 'folders'"),
        ("data.train_dir=nowhere", "data.train_dir: nowhere is not there"),
    ],
)
def test_bad_input(override, said, capsys, tmp_path):
    assert main([override]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_classic_sets(sr_data, capsys):
    assert main([f"paths.data={sr_data}", "data=t291"]) == 2
    kinds = found()
    assert kinds == {"duplicate": [("t65.png", "t36.png")], "leakage": [("302003.jpg", "img_005.png")]}
    assert "benchmark" not in capsys.readouterr().out


def test_an_altered_benchmark_is_told(sr_data, tmp_path, photographs):
    (tmp_path / "five").mkdir()
    for path in sorted((sr_data / "test/Set5").iterdir())[:4]:
        Image.open(path).save(tmp_path / "five" / f"{path.stem}.bmp")
    assert main(arguments(photographs[0], tmp_path / "five")) == 2
    (finding,) = json.loads(Path("check_data.json").read_text())["findings"]
    assert finding["message"] == "Set5 is incomplete: 4 of 5 images are there; missing: img_005.png"
