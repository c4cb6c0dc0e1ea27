"""Runs in W&B, read back from its offline files: finished, failed and continued ones."""

import json
import subprocess
from pathlib import Path

import pytest

from helpers.training_runs import only_run
from helpers.wandb_offline import wandb_records
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def test_wandb_offline_can_be_read_back(tiny, monkeypatch):
    """Config, loss terms, rate, both methods' figures, throughput, images, table, tags and group; no secret, no diff.

    The summary holds the best validation, not the last.
    """
    monkeypatch.setenv("WANDB_API_KEY", "a1b2c3d4e5" * 4)
    settings = [a for a in tiny if a != "logger=csv"]
    for text in ("clean", f"key = {'a1b2c3d4e5' * 4}"):  # W&B would record what differs from the last commit
        Path("notes.txt").write_text(text)
        if text == "clean":
            git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
            for command in (["init", "-q"], ["add", "notes.txt"], ["commit", "-qm", "first"]):
                subprocess.run([*git, *command], check=True)
    wandb = ["logger.wandb.tags=[a,b]", "logger.wandb.artifacts=best"]
    assert main(["-m", *settings, "loss.alpha=1,2", *wandb]) == 0
    sweep = only_run("sweep")
    ids = set()
    for job, alpha in (("0", 1.0), ("1", 2.0)):
        path, found = wandb_records(sweep / job)
        (run,) = found["run"]
        assert (run["run_group"], run["tags"]) == (sweep.name, ["a", "b"])
        assert (run["job_type"], run["display_name"]) == ("train", f"{sweep.name}/{job}")
        assert "loss.alpha=1,2" in run["notes"]
        assert not [record for record in found["environment"] if "git" in record]
        (model,) = (artifact for artifact in found["artifact"] if artifact["type"] == "model")
        assert [file["path"] for file in model["manifest"]["contents"]] == ["best.ckpt"]
        assert "test/heldout/x4/psnr_y" in json.loads(model["metadata"])
        ids.add(run["run_id"])
        config = found["config"][0]["update"]
        assert config["loss"]["alpha"] == alpha
        assert config["data"]["patch_size"] == 12
        assert (config["scale"], config["run"]["parameters"] > 0) == (4, True)
        assert config["run"]["multiply_adds"] > 0
        logged = set().union(*(record["item"] for record in found["history"]))
        throughput = ("time/data_wait", "time/samples_per_s", "time/minutes")
        for name in ("train/loss", "train/loss/pixel", "train/grad_norm", "lr", *throughput):
            assert name in logged
        rows = [record["item"] for record in found["history"]]
        summary = {}
        for record in found["summary"]:
            summary |= record["update"]
        for name in ("val/psnr_y", "val/ssim_y", "val/gain", "val/heldout/x4/psnr_y"):
            values = [row[name] for row in rows if name in row]
            assert len(values) == 2
            assert summary[name]["max"] == max(values)
        for name in ("psnr_y", "ssim_y", "bicubic_psnr_y", "bicubic_ssim_y"):
            assert f"val/heldout/x4/{name}" in logged
            assert f"test/heldout/x4/{name}" in logged
        assert found["exit"][0].get("exit_code", 0) == 0
        (key,) = {name.partition(".")[0] for name in logged if name.startswith("samples/")}
        assert key == "samples/heldout_x4_img_1"  # of both validations
        assert len(list((path / "files/media/images/samples").glob("*.png"))) == 2
        (table,) = (path / "files/media/table/test").glob("images*.json")
        table = json.loads(table.read_text())
        assert {row[3] for row in table["data"]} == {"img_1.png", "img_4.png"}
        gains = [row[table["columns"].index("gain")] for row in table["data"]]
        assert gains == sorted(gains, reverse=True)
        assert table["columns"][-5:] == ["LR", "bicubic", "SR", "HR", "error"]
        assert table["data"][0][-5:] == ["Image"] * 5  # the pixels are in the table's artifact
        for file in (sweep / job).rglob("*"):
            assert not file.is_file() or b"a1b2c3d4e5" not in file.read_bytes(), file
    assert len(ids) == 2


def test_a_failed_run_says_so_in_wandb(tiny):
    settings = [a for a in tiny if a != "logger=csv"]
    assert main([*settings, "optimizer=sgd", "optimizer.lr=1e12", "trainer.max_steps=50"]) == 1
    assert wandb_records(only_run())[1]["exit"][0]["exit_code"] == 1


def test_a_continued_run_is_the_same_run_in_wandb_and_its_newest_file_shows_all_of_it(tiny):
    """Rows and images of the piece before stayed in its file; what was logged after the checkpoint is not repeated."""
    settings = [a for a in tiny if a != "logger=csv"]
    assert main([*settings, "hydra.run.dir=a", "scheduler=constant"]) == 0
    path, first = wandb_records(Path("a"))
    path.rename("first")
    Path("a/samples/step0000099_heldout_x4_img_1.png").write_bytes(b"of no validation that counts")
    Path("a/samples/step0000002_heldout_x4_img_4.png").write_bytes(b"no image")
    assert main(["ckpt_path=a", "trainer.max_steps=6", "allow_change=[scheduler]"]) == 0
    again = wandb_records(Path("a"))[1]
    assert again["run"][0]["run_id"] == first["run"][0]["run_id"]
    rows = [record["item"] for record in again["history"]]
    steps = [row["trainer/global_step"] for row in rows if "train/loss" in row]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert [row["trainer/global_step"] for row in rows if "samples/heldout_x4_img_1._type" in row] == [2, 4, 6]
