"""The command: real command lines on small runs, its folder, its mistakes, its artifact in W&B."""

import json
import shutil
import sys

import pytest

from helpers.run_folders import data_of, make_run, make_sweep
from helpers.wandb_offline import wandb_records
from sr_lightning.compare import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")

FILES = {"table.md", "table.tex", "table.csv", "compare.json"}
FAST = ["plots=false", "images=false"]


def test_a_sweep_gets_a_folder_of_its_own(tmp_path, capsys):
    make_sweep(tmp_path / "runs/sweep/s")
    assert main(["runs=runs/sweep/s", *FAST]) == 0
    out = capsys.readouterr().out
    assert "beta=0 (2 seeds)" in out
    folder = tmp_path / "runs/sweep/s/compare"
    assert {path.name for path in folder.iterdir()} == {*FILES, "compare.html"}
    assert data_of(folder / "compare.html")["commands"][0] == [
        "this comparison",
        "python -m sr_lightning.compare runs=runs/sweep/s",
    ]
    assert main(["runs=runs/sweep/s", "page=false", *FAST]) == 0  # again, and what is not made any more goes
    assert {path.name for path in folder.iterdir()} == FILES


def test_it_needs_no_torch_for_tables(tmp_path, monkeypatch):
    make_sweep(tmp_path / "s")
    monkeypatch.setitem(sys.modules, "sr_lightning.builders.comparison_images", None)  # what imports torch
    assert main(["runs=s", *FAST]) == 0


def test_several_folders_go_below_the_runs(tmp_path, capsys):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b, c=[d]", beta=1.0)
    assert main(["runs=[a,'b, c=[d]']", "page=false", *FAST]) == 0
    (folder,) = (tmp_path / "runs/compare").iterdir()
    assert {path.name for path in folder.iterdir()} == FILES
    assert main(["runs=b, c=[d]", "page=false", "output=own", *FAST]) == 0
    assert (tmp_path / "own/table.md").is_file()


def test_a_foreign_file_is_never_replaced(tmp_path, capsys):
    make_run(tmp_path / "a")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/table.csv").write_text("mine")
    assert main(["runs=a", "output=out", *FAST]) == 2
    assert "out holds table.csv, which compare has not made" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"table.csv"}
    assert main(["runs=a", "output=fine", *FAST]) == 0
    (tmp_path / "fine/table.md").write_text("edited by hand")
    assert main(["runs=a", "output=fine", *FAST]) == 2
    assert (tmp_path / "fine/table.md").read_text() == "edited by hand"


def test_a_manifest_that_leads_elsewhere_removes_nothing(tmp_path):
    make_run(tmp_path / "a")
    (tmp_path / "victim").write_text("x")
    (tmp_path / "out").mkdir()
    names = ["../victim", str(tmp_path / "victim"), "plots/../../victim"]
    (tmp_path / "out/compare.json").write_text(json.dumps({"files": dict.fromkeys(names, "0")}))
    assert main(["runs=a", "output=out", *FAST]) == 0
    assert (tmp_path / "victim").read_text() == "x"


def test_links_out_of_the_folder_are_not_written_through(tmp_path, capsys):
    make_run(tmp_path / "a")
    (tmp_path / "victim").write_text("x")
    (tmp_path / "elsewhere").mkdir()
    for name, target in (("table.md.part", "victim"), ("compare.json", "victim"), ("plots", "elsewhere")):
        (tmp_path / "a/compare").mkdir(exist_ok=True)
        (tmp_path / "a/compare" / name).symlink_to(tmp_path / target)
        options = [] if name == "plots" else ["plots=false"]
        assert main(["runs=a", "images=false", "page=false", *options]) == 2, name
        assert "out of" in capsys.readouterr().err
        shutil.rmtree(tmp_path / "a/compare")
    assert (tmp_path / "victim").read_text() == "x"
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["runs=nowhere"], "runs: nowhere is not there"),
        (["runs=a,empty"], "or a glob; several are a list, runs=[a,empty]"),
        (["runs=a", "max_images=1,2"], "found 1,2, allowed: one value or a list max_images=[1,2]\n"),
        (["runs=empty"], "runs: empty holds no runs"),
        (["runs=a", "rank_by=psnr"], "found 'psnr', which none of these runs has recorded; did you mean 'psnr_y'?"),
        (["runs=a", "rank_by=lpips"], "which none of these runs has recorded; allowed: psnr_y, ssim_y"),
        (["runs=a", "page_mb=0"], "page_mb: found 0, allowed: 1 to 2000 megabytes"),
        (["runs=a", "device=tpu", "max_images=0"], "device: found 'tpu'"),
        ([], "runs: must be given"),
        (["runs=a", "-m"], "makes one thing"),
    ],
)
def test_a_mistake_is_answered_with_2(tmp_path, typed, said, capsys):
    make_run(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    assert main(typed) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "a/compare").exists()


def test_only_torn_runs_end_with_2_and_one_good_run_with_0(tmp_path, capsys):
    torn = make_run(tmp_path / "runs/torn")
    for path in (torn / "metrics.csv", torn / ".hydra/config.yaml"):
        path.unlink()
    (torn / "results.json").write_text("{")
    assert main(["runs=runs", *FAST]) == 2
    assert "results.json: is torn" in capsys.readouterr().err
    make_run(tmp_path / "runs/good")
    assert main(["runs=runs", *FAST]) == 0
    assert "results.json: is torn" in capsys.readouterr().out


def test_table_and_page_are_an_artifact_of_weights_and_biases(tmp_path, capsys):
    """Read back from the offline run; the same command again is the same W&B run, in the sweep's group."""
    make_sweep(tmp_path / "runs/sweep/s")
    ids = []
    for plots in ("plots=true", "plots=false"):
        assert main(["runs=runs/sweep/s", "images=false", plots, "logger=wandb"]) == 0
        assert "wandb sync runs/sweep/s/compare/wandb/latest-run" in capsys.readouterr().out
        where, found = wandb_records(tmp_path / "runs/sweep/s/compare")
        (run,) = found["run"]
        assert (run["job_type"], run["run_group"], run["display_name"]) == ("compare", "s", "s/compare")
        assert "sr_lightning.compare runs=runs/sweep/s" in run["notes"]
        (kept,) = (artifact for artifact in found["artifact"] if artifact["type"] == "comparison")
        names = {file["path"] for file in kept["manifest"]["contents"]}
        assert {"table.md", "table.tex", "table.csv", "compare.html"} <= names
        assert ("plots/x4_curves.svg" in names) == (plots == "plots=true")
        (table,) = (where / "files/media/table/compare").glob("runs*.json")
        table = json.loads(table.read_text())
        column = dict(zip(table["columns"], zip(*table["data"], strict=True), strict=True))
        assert column["loss.beta"][:2] == (0, 0)
        assert column["status"].count("failed") == 1
        ids.append(run["run_id"])
        shutil.move(where, tmp_path / plots)
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("logger=tensorboard", "logger.tensorboard: found sr_lightning.loggers."),
        ("logger.wandb.mode=offlin", "logger.wandb.mode: found 'offlin'"),
        ("logger.wandb.mode=online", "logger.wandb.mode: online needs an API key"),
    ],
)
def test_where_a_comparison_cannot_go(typed, said, tmp_path, capsys):
    make_run(tmp_path / "a")
    assert main(["runs=a", *FAST, *([] if "wandb" not in typed else ["logger=wandb"]), typed]) == 2
    assert said in capsys.readouterr().err
