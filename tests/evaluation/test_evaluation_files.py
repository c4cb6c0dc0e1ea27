"""What an evaluation writes: tables for papers, the spreadsheet, W&B and TensorBoard."""

import csv
import json
import shutil
from dataclasses import dataclass, replace

import pytest

from helpers.evaluations import QUICK, document, mine, only_run, rows, save_network
from helpers.wandb_offline import wandb_records
from sr_lightning.data.benchmarks.reference import published_rows
from sr_lightning.evaluate import main
from sr_lightning.evaluation import benchmark_check as self_check

pytestmark = pytest.mark.usefixtures("_hydras_logging")


@dataclass
class Known:
    """As the recognition of a benchmark whose images are not at hand."""

    benchmark: str = "Set5"
    is_exact: bool = True


def test_files_for_papers(folder, tmp_path, monkeypatch):
    row = [replace(published_rows("Set5", 4)[0], method="A_B & C|D", training="291", source="table 1 of 10% <x>")]
    monkeypatch.setattr(self_check, "recognise", lambda paths: Known())
    monkeypatch.setattr(self_check, "comparability_findings", lambda *arguments: [])
    monkeypatch.setattr("sr_lightning.evaluation.summary.published_rows", lambda name, scale: row)
    assert main(["model=bicubic", "scale=4", *mine(folder, "Set5"), *QUICK]) == 0
    run = only_run()
    text = (run / "results.md").read_text()
    assert "| *Set5 x4* | *A\\_B & C\\|D* |" in text
    assert "Protocol: Y (BT.601) of 8-bit RGB" in text
    tex = (run / "results.tex").read_text()
    assert r"\textit{A\_B \& C|D}" in tex
    assert r"\textit{table 1 of 10\% <x>}" in tex
    with (run / "results.csv").open() as file:
        bicubic, other = csv.DictReader(file)
    assert (bicubic["kind"], other["kind"]) == ("baseline", "published")
    assert float(bicubic["psnr_y"]) == rows()["Set5", 4, "bicubic", None]["psnr_y"]
    assert other["source"] == "table 1 of 10% <x>"
    shutil.rmtree("runs")
    assert main(["model=bicubic", "scale=4", *mine(folder, "Set5"), *QUICK, "published=false", "format=[csv]"]) == 0
    assert {p.name for p in only_run().iterdir()} == {
        ".hydra",
        "evaluate.log",
        "per_image.csv",
        "results.csv",
        "results.json",
        ".lock",
    }


def test_the_spreadsheet_holds_figures_only(folder, tmp_path):
    assert main([f"checkpoint={save_network(tmp_path / 'a.ckpt')}", *mine(folder), *QUICK, "metrics=[ms_ssim]"]) == 0
    with (only_run() / "results.csv").open() as file:
        (first, *_) = csv.DictReader(file)
    assert "ms_ssim" in first
    assert "more" not in first
    assert not any("{" in value for value in first.values())


def test_an_evaluation_in_wandb_and_tensorboard(folder, tmp_path):
    """Job type evaluate; the names that training logs of its test; tables of sets and images, with the images."""
    path = save_network(tmp_path / "a.ckpt")
    assert main([*QUICK, f"checkpoint={{mine: {path}}}", *mine(folder), "logger=all"]) == 0
    run, records = wandb_records(only_run())
    (head,) = records["run"]
    assert (head["job_type"], head["tags"]) == ("evaluate", ["x4", "mine"])
    figures = {key: value for record in records["history"] for key, value in record["item"].items()}
    own, bicubic = (row for row in sorted(document()["rows"], key=lambda row: row["method"] == "bicubic"))
    assert figures["test/Mine/x4/psnr_y"] == pytest.approx(own["psnr_y"])
    assert figures["test/Mine/x4/gain"] == pytest.approx(own["gain"])
    assert figures["test/Mine/x4/bicubic_psnr_y"] == pytest.approx(bicubic["psnr_y"])
    (sets,) = (run / "files/media/table/test").glob("sets*.json")
    assert [row[0] for row in json.loads(sets.read_text())["data"]] == ["bicubic", "mine"]
    (images,) = (run / "files/media/table/test").glob("images*.json")
    images = json.loads(images.read_text())
    assert len(images["data"]) == 6
    assert all(row[-5:] == ["Image"] * 5 for row in images["data"])
    assert list((only_run() / "tensorboard").glob("events*"))
