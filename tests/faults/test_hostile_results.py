"""Names and configs from untrusted files in what an evaluation writes: tables, spreadsheets, LaTeX, folders."""

import csv
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import save as safe_bytes

from helpers.evaluations import QUICK, document, mine, only_run, per_image, save_network
from sr_lightning.builders.methods import build_methods
from sr_lightning.errors import UserError
from sr_lightning.evaluate import main
from sr_lightning.evaluation.method import Method, folder_names
from sr_lightning.evaluation.tables import QUALITY, Record, latex, markdown, terminal, write_csv

pytestmark = pytest.mark.usefixtures("_hydras_logging")

NAMES = [
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1+1)",
    "\t=1+1",
    " =1+1",
    "\uff1d1+1",  # a full-width equals sign
    "two\nlines",
    "two\r\nlines",
    "\x1b[31mred\x1b[0m",
    "<img src=x onerror=alert(1)>",
    "a | b | c",
    "[click](javascript:alert(1))",
    r"\input{/etc/passwd}",
    "50% & $x^2$ #1 {a}",
    "% \n\\immediate\\write18{touch canary}",
    "\u202egnp.exe",
    "a\u2028b",
]
FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")


def lines_of(name):
    return [
        Record("Mine", 4, name, psnr_y=-1.5, gain=-0.25, trained_on=name, source=name),
        Record("Mine", 4, "next", psnr_y=30.0),
    ]


@pytest.mark.fault("S13", "a text in one cell")
@pytest.mark.parametrize("name", NAMES)
def test_S13_a_name_stays_in_its_cell(name, tmp_path, capsys):
    columns = ("PSNR-Y", "trained on", "source")
    rows = markdown(lines_of(name), columns).splitlines()
    assert len(rows) == 4
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in rows)
    assert not re.search(r"(?<!\\)[<\[]", rows[2])
    tex = latex(lines_of(name), columns)
    assert len(tex.splitlines()) == 9
    row = tex.splitlines()[5]
    assert len(re.findall(r"(?<!\\)&", row)) == 4
    assert set(re.findall(r"\\([A-Za-z]+)", row)) <= {"textbackslash", "textasciitilde", "textasciicircum"}
    Console(width=200).print(terminal(lines_of(name), (*QUALITY, "trained on")))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert sum("-1.50" in line for line in out.splitlines()) == 1
    write_csv(tmp_path / "r.csv", lines_of(name))
    text = (tmp_path / "r.csv").read_text()
    assert len(text.splitlines()) == 3
    with (tmp_path / "r.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    for cell in ("method", "trained_on", "source"):
        assert not FORMULA.match(first[cell]), first[cell]
    assert (first["psnr_y"], first["gain"]) == ("-1.5", "-0.25")  # figures stay figures


@pytest.mark.fault("S13", "no line, no command, no formula of their own")
def test_S13_hostile_names_in_every_file_of_an_evaluation(tmp_path, image, capsys):
    source = tmp_path / "in"
    source.mkdir()
    for i, name in enumerate(["=cmd|'calc'!A0", "a\nb\n\\input{x}", "<b>&amp;", "\x1b[2J", "@x", "-x", "plain"]):
        Image.new("RGB", (48, 48), (10 * i, 9, 9)).save(source / f"{name}.png")  # flat: the notes name them
    checkpoint = save_network(tmp_path / "=1+1\n\\write18{x}<i>.ckpt", data={"train_dir": ["/x/=HYPERLINK(1)\n|x|<b>"]})
    other = save_network(tmp_path / "other.ckpt", n_feats=2)
    settings = [*mine(source), *QUICK, "save_pictures=true"]
    assert main([f"checkpoint=['{checkpoint}',{other}]", *settings]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    run = only_run()
    tex = (run / "results.tex").read_text().splitlines()
    body = tex.index(r"\end{tabular}")
    assert all(line.startswith("%") for line in tex[body + 1 :])
    assert not any(line.lstrip().startswith((r"\input", r"\write")) for line in tex)
    text = (run / "results.md").read_text()
    assert not re.search(r"(?<!\\)<(b|i|img)", text)
    assert "\x1b" not in text
    for name in ("results.csv", "per_image.csv"):
        with (run / name).open(newline="") as file:
            for row in csv.DictReader(file):
                for cell in row.values():
                    assert not FORMULA.match(cell) or float(cell) < 0, (name, cell)
                    assert "\n" not in cell
    assert len(per_image()) == 7 * 3
    assert {path.parent.parent.parent.parent for path in run.rglob("*.png")} == {run / "pictures"}


@pytest.mark.fault("S8", "a folder of its own, in the run's")
def test_S8_labels_that_lead_elsewhere_are_long_or_differ_in_signs_only(tmp_path):
    labels = ["bicubic", "..", ".", "/", "a/b", "a_b", "A_b", "é" * 300, "é" * 300 + "y", ".hidden", "bicubic.", "x\n"]
    names = list(folder_names([Method(label=label) for label in labels]).values())
    assert names[0] == "bicubic"
    assert len({name.casefold() for name in names}) == len(labels)
    for name in names:
        (tmp_path / "pictures" / name).mkdir(parents=True)
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == set(names)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


@pytest.mark.fault("I9", "each has a file of its own")
def test_I9_a_numbered_name_that_another_file_bears(tmp_path, image):
    """`same_0.png` of two images called `same` was overwritten by a third one's."""
    for i, name in enumerate(("a/same", "b/same", "same_0", "same_1_1")):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image(48, 48, i)).save(tmp_path / "in" / f"{name}.png")
    settings = ["scale=2", *mine(tmp_path / "in"), *QUICK]
    assert main(["model=bicubic", *settings, "save_pictures=true", "hydra.run.dir=first"]) == 0
    assert len(list(Path("first").rglob("*.png"))) == 4
    assert main(["predictions={again: first/pictures/bicubic}", *settings, "hydra.run.dir=second"]) == 0
    assert all(row["psnr_y"] == row["bicubic_psnr_y"] for row in per_image(Path("second")))


def nested(depth):
    value = "end"
    for _ in range(depth):
        value = [value]
    return value


def circular():
    value = {}
    value["self"] = value
    return value


CLAIMS = {
    "no data": {"data": None},
    "data is a text": {"data": "x"},
    "folders of all kinds": {"data": {"train_dir": [3, None, {"a": 1}]}},
    "folders as a dict": {"data": {"train_dir": {"a": 1}}},
    "seed is a dict": {"seed": {"a": [1]}},
    "seed is a formula": {"seed": "=1"},
    "scale is a text": {"scale": ["x"]},
    "scale 0": {"scale": [0]},
    "negative scale": {"scale": [-4]},
    "true scale": {"scale": [True]},
    "no scale": {"scale": None},
    "scale is a dict": {"scale": {}},
    "nested": {"extra": nested(200)},
    "circular": {"extra": circular()},
    "keys of all kinds": {("a", 1): 2, 3: 4},
    "a nested network": {"model": nested(200)},
    "a nested argument": {"model": {"_target_": "sr_lightning.models.EDSR", "scale": 4, "n_feats": nested(200)}},
}


@pytest.mark.fault("S14", "taken without what it says, or refused")
@pytest.mark.parametrize("claim", CLAIMS)
def test_S14_a_checkpoint_that_claims_anything_about_its_training(claim, tmp_path):
    path = save_network(tmp_path / "a.ckpt")
    content = torch.load(path)
    content["sr_lightning"]["config"] |= CLAIMS[claim]
    torch.save(content, path)
    network = {"upsampler": "pixelshuffle_direct", "global_skip": "bicubic", "n_feats": 4, "n_resblocks": 1}
    for typed in (None, {"_target_": "sr_lightning.models.EDSR", "scale": 4, **network}):
        config = SimpleNamespace(checkpoint={str(path): ""}, model=typed, scale=[4], self_ensemble=False, tile=None)
        try:
            (method,) = build_methods(config)
        except UserError as error:
            refused = str(error)
        else:
            refused = "a.ckpt"
            assert method.scales == (4,)
            assert json.loads(json.dumps(method.facts)) == method.facts
        assert "a.ckpt" in refused


@pytest.mark.fault("S14", "refused, the file is named")
@pytest.mark.parametrize("where", ["config", "model", "n_feats"])
def test_S14_a_checkpoint_nested_without_end(where, tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    model = f'{{"_target_": "sr_lightning.models.EDSR", "scale": 4, "n_feats": {deep if where == "n_feats" else 4}}}'
    model = deep if where == "model" else model
    config = deep if where == "config" else f'{{"scale": [4], "model": {model}}}'
    note = f'{{"format": 1, "config": {config}}}'
    (tmp_path / "a.safetensors").write_bytes(safe_bytes({"x": torch.zeros(1)}, metadata={"sr_lightning": note}))
    config = SimpleNamespace(
        checkpoint={str(tmp_path / "a.safetensors"): ""}, model=None, scale=[4], self_ensemble=False, tile=None
    )
    with pytest.raises(UserError, match=r"a\.safetensors"):
        build_methods(config)


@pytest.mark.fault("I12", "refused, the file is named")
def test_I12_files_that_are_no_images_among_predictions(folder, tmp_path, capsys):
    (tmp_path / "sr").mkdir()
    for path in folder.iterdir():
        (tmp_path / "sr" / path.name).write_text("<html>not found</html>")
    assert main([f"predictions={tmp_path}/sr", "scale=4", *mine(folder), *QUICK]) == 2
    said = capsys.readouterr().err
    assert "img_0.png: is not an image" in said
    assert "Traceback" not in said


@pytest.mark.fault("D17", "evaluated as under any other name")
def test_D17_a_checkpoint_whose_name_is_no_text(folder, tmp_path, capfd):
    path = save_network(tmp_path / "a.ckpt")
    assert main([f"checkpoint={path}", *mine(folder), *QUICK, "hydra.run.dir=plain"]) == 0
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.ckpt")
    path.rename(odd)
    assert main([f"checkpoint={odd}", *mine(folder), *QUICK, "hydra.run.dir=odd"]) == 0
    assert "Traceback" not in capfd.readouterr().err
    plain, other = (document(Path(run))["rows"] for run in ("plain", "odd"))
    assert other[1]["checkpoint"] == f"{tmp_path}/\\udcff.ckpt"
    figures = ("set", "scale", "images", "method", "psnr_y", "ssim_y")
    assert [[row[key] for key in figures] for row in other] == [[row[key] for key in figures] for row in plain]
