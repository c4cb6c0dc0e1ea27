"""Lightning's own callbacks as one-liners: those that work do what they say, the others are refused with the reason."""

import csv
from pathlib import Path

import pytest

from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")
LIGHTNINGS = "lightning.pytorch.callbacks"


def validated(folder):
    with Path(folder, "metrics.csv").open() as file:
        return [int(row["step"]) for row in csv.DictReader(file) if row.get("val/psnr_y")]


def test_early_stopping_counts_validations_and_the_run_can_be_continued(tiny):
    stop = f"+callbacks.stop={{_target_: {LIGHTNINGS}.EarlyStopping, monitor: val/psnr_y, mode: max, patience: 2"
    assert main([*tiny, "trainer.max_steps=40", "hydra.run.dir=a", f"{stop}, min_delta: 100}}"]) == 0
    assert validated("a") == [2, 4, 6]  # the first is the best; two more without a gain of 100 dB
    assert main(["ckpt_path=a"]) == 0
    assert validated("a") == [2, 4, 6, 8]  # still none
    assert Path("a/results.json").is_file()


def test_callbacks_beside_ours_keep_their_files_in_the_runs_folder_and_log_into_its_table(tiny):
    every = f"+callbacks.every={{_target_: {LIGHTNINGS}.ModelCheckpoint, every_n_train_steps: 2, save_top_k: -1}}"
    average = f"+callbacks.average={{_target_: {LIGHTNINGS}.EMAWeightAveraging, decay: 0.9}}"
    rates = f"+callbacks.rates={{_target_: {LIGHTNINGS}.LearningRateMonitor}}"
    assert main([*tiny, "hydra.run.dir=a", every, average, rates]) == 0
    with Path("a/metrics.csv").open() as file:
        assert any(name.startswith("lr-") for row in csv.DictReader(file) for name, value in row.items() if value)
    names = {path.name for path in Path("a/checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "previous.ckpt", "epoch=0-step=2.ckpt", "epoch=0-step=4.ckpt"}
    again = f"callbacks.every._target_={LIGHTNINGS}.ModelCheckpoint"  # it writes files
    average = f"callbacks.average._target_={LIGHTNINGS}.EMAWeightAveraging"
    assert main(["ckpt_path=a/checkpoints/epoch=0-step=2.ckpt", again, average]) == 0
    assert validated("a") == [2, 4]


def test_a_value_that_is_watched_the_wrong_way_round_is_refused(tiny, capsys):
    """Lightning's own default is mode: min."""
    assert main([*tiny, f"+callbacks.stop={{_target_: {LIGHTNINGS}.EarlyStopping, monitor: val/psnr_y}}"]) == 2
    assert "EarlyStopping monitors val/psnr_y with mode: min, but higher is better" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["StochasticWeightAveraging", "GradientAccumulationScheduler", "BatchSizeFinder"])
def test_what_counts_epochs_or_changes_the_data_is_refused(name, capsys):
    assert main([f"+callbacks.x={{_target_: {LIGHTNINGS}.{name}}}", "optimizer.lr=-1"]) == 2
    said = capsys.readouterr().err
    assert f"callbacks.x: {name} " in said
    assert "optimizer.lr: found -1" in said  # with all other findings, before anything is imported
