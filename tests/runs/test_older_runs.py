"""Runs that an older version has left (tests/fixtures/older_runs) are continued, evaluated and started from."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from helpers.wandb_offline import wandb_records
from sr_lightning.evaluate import main as evaluate
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")

OLDER = Path(__file__).parents[1] / "fixtures" / "older_runs"
# What they were made on, besides what results.json says; elsewhere the last digits are others.
PROCESSOR = "AVX512"


@pytest.fixture(autouse=True)
def _older_runs(tmp_path, _own_surroundings):
    """A copy of them in the working folder."""
    for name in ("pictures", "runs"):
        shutil.copytree(OLDER / name, tmp_path / name)


def typed(run):
    """What was typed for a run."""
    return yaml.safe_load((OLDER / run / ".hydra/overrides.yaml").read_text())


def rows(path):
    """A table without empty cells: columns that came later may stand in another order."""
    with Path(path).open(newline="") as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


def untimed(path):
    """Without what the clock says."""
    names = ("time/", "seconds", "bicubic_seconds")
    return [{key: value for key, value in row.items() if not key.startswith(names)} for row in rows(path)]


def counted_from_one(table):
    """The rows of an older version, which bore the number of the step before; but for the final test's."""
    is_test = [any(key.startswith("test/") for key in row) for row in table]
    return [
        row if final else row | {"step": str(int(row["step"]) + 1)} for row, final in zip(table, is_test, strict=True)
    ]


def results(run):
    return json.loads(Path(run, "results.json").read_text())


def last(run):
    return torch.load(Path(run, "checkpoints/last.ckpt"), weights_only=True)


def equal(run, reference):
    """Compares two numbers: to the last digit, where they were computed alike."""
    ours, theirs = (results(folder)["run"] for folder in (run, reference))
    is_alike = ours["hardware"] == theirs["hardware"] and ours["versions"]["torch"] == theirs["versions"]["torch"]
    if is_alike and torch.backends.cpu.get_cpu_capability() == PROCESSOR:
        return float.__eq__
    return lambda one, other: one == pytest.approx(other, rel=1e-3, abs=5e-3)


LATER = ("val/ssim_y", "train/grad_norm", "train/share/")


def assert_rows(found, wanted, same):
    """Apart from columns that came later, and the learning rate: older rows bear that of the step after theirs."""
    found = [{key: value for key, value in row.items() if not key.startswith(LATER)} for row in found]
    wanted = [{key: value for key, value in row.items() if key != "lr"} for row in wanted]
    found = [{key: value for key, value in row.items() if key != "lr"} for row in found]
    assert [row.keys() for row in found] == [row.keys() for row in wanted]
    for one, other in zip(found, wanted, strict=True):
        for key, value in other.items():
            try:
                value = float(value)
            except ValueError:
                assert one[key] == value, key
            else:
                assert same(float(one[key]), value), (key, one[key], value)


def assert_finished(run, reference):
    """It has all steps, and the numbers that the older version's own uninterrupted run has."""
    same = equal(run, reference)
    found = untimed(f"{run}/metrics.csv")
    assert [int(row["step"]) for row in found if "train/loss" in row] == list(range(1, 7))
    assert_rows(found, counted_from_one(untimed(reference / "metrics.csv")), same)
    ours, theirs = results(run), results(reference)
    assert ours["steps"] == 6
    assert same(ours["objective"], theirs["objective"])
    for one, other in zip(ours["rows"], theirs["rows"], strict=True):
        for key in ("set", "scale", "images", "method", "checkpoint", "params"):
            assert one[key] == other[key]
        assert same(one["psnr_y"], other["psnr_y"])
        assert same(one["ssim_y"], other["ssim_y"])


def assert_kept(run):
    """What was logged before it stopped still stands there, with its times: none of these steps ran again."""
    before = counted_from_one(rows(OLDER / run / "metrics.csv"))
    assert len(before) >= 4  # three steps and a validation
    assert rows(f"{run}/metrics.csv")[: len(before)] == before


@pytest.mark.parametrize(
    ("run", "step", "reference", "beside"),
    [
        ("interrupted", 3, "runs/train/finished", ()),
        ("interrupted_ema", 4, "reference/ema", ("current_model_state", "averaging_state")),  # owes a validation
        ("interrupted_srgan", 3, "reference/srgan", ("discriminator",)),
    ],
)
def test_an_interrupted_run_goes_on(run, step, reference, beside):
    run = f"runs/train/{run}"
    before = last(run)
    assert before["global_step"] == step
    assert main([f"ckpt_path={run}"]) == 0
    assert_kept(run)
    assert_finished(run, OLDER / reference)
    after = last(run)
    assert after["global_step"] == 6
    assert after["state_dict"].keys() == before["state_dict"].keys()
    for name in beside:
        assert after[name].keys() == before[name].keys()


def test_the_best_so_far_stays_the_best():
    """It was validated before the run stopped, and what came after is worse."""
    run = "runs/train/interrupted"
    best = Path(run, "checkpoints/best.ckpt")
    before = best.read_bytes()
    gains = [float(row["val/gain"]) for row in rows(OLDER / "runs/train/finished/metrics.csv") if "val/gain" in row]
    assert max(gains) == gains[0]
    assert main([f"ckpt_path={run}"]) == 0
    assert best.read_bytes() == before
    assert results(run)["objective"] == pytest.approx(gains[0], abs=1e-6)


def test_a_continued_run_stays_the_same_run_in_wandb():
    run = Path("runs/train/interrupted")
    number = (OLDER / run / "wandb/run_id").read_text().strip()
    assert main([f"ckpt_path={run}"]) == 0
    assert (run / "wandb/run_id").read_text().strip() == number
    _, records = wandb_records(run)
    (begun,) = records["run"]
    assert (begun["run_id"], begun["project"], begun["tags"]) == (number, "sr_lightning", ["older"])
    config = records["config"][0]["update"]
    assert (config["data"]["patch_size"], config["model"]["n_feats"], config["optimizer"]["lr"]) == (8, 4, 5e-3)
    assert {"train/loss", "val/gain"} <= set().union(*(record["item"] for record in records["history"]))
    steps = [record["item"].get("trainer/global_step") for record in records["history"]]
    assert set(range(1, 7)) <= set(steps)  # also those of the piece before, whose file is another


def test_a_finished_run_is_evaluated():
    arguments = ["checkpoint=runs/train/finished", "+data.test.Mine=pictures", "sets=[Mine]", "accelerator=cpu"]
    arguments.append("data.kernel=bicubic_double")  # that version rounded once
    assert evaluate([*arguments, "cost=false", "published=false", "hydra.run.dir=evaluated"]) == 0
    reference = OLDER / "reference/evaluate"
    same = equal("evaluated", reference)
    assert_rows(untimed("evaluated/per_image.csv"), untimed(reference / "per_image.csv"), same)
    assert same(results("evaluated")["objective"], results(reference)["objective"])
    assert results("evaluated")["rows"][1]["trained_on"] == "pictures"


def test_a_new_run_starts_from_the_weights_of_an_older_one():
    settings = [*typed("runs/train/finished"), "model.weights=runs/train/finished/checkpoints/best.ckpt"]
    settings += [
        "data.kernel=bicubic_double",
        "optimizer.lr=1e-12",
        "trainer.max_steps=1",
        "trainer.val_check_interval=1",
    ]
    assert main([*settings, "hydra.run.dir=started"]) == 0
    found, wanted = (results(run)["rows"] for run in ("started", OLDER / "runs/train/finished"))
    assert [row["method"] for row in found] == ["bicubic", "EDSR"]
    assert found[1]["psnr_y"] == pytest.approx(wanted[1]["psnr_y"], abs=1e-3)
    assert found[1]["psnr_y"] > found[0]["psnr_y"] + 0.2  # a network with nothing learned yet is bicubic


def test_a_sweep_is_completed_by_the_same_command(capsys):
    """Of three jobs the first is finished, the second was interrupted, the third never began."""
    sweep = Path("runs/sweep/older")
    done = sweep / "0/results.json"
    before = done.read_bytes(), done.stat().st_mtime_ns
    settings = [override for override in typed(sweep / "0") if not override.startswith("loss.alpha=")]
    assert main(["-m", *settings, "loss.alpha=1,2,3", f"hydra.sweep.dir={sweep}"]) == 0
    assert (done.read_bytes(), done.stat().st_mtime_ns) == before
    assert not (sweep / "0/checkpoints").exists()
    assert capsys.readouterr().out.count("done before") == 1
    assert_kept(sweep / "1")
    assert_finished(sweep / "1", OLDER / "reference/sweep/1")
    assert results(sweep / "1")["protocol"]["lr_rounding"] == "once"  # as it began
    assert results(sweep / "2")["protocol"]["lr_rounding"] == "after each pass"
    assert results(sweep / "2")["steps"] == 6
