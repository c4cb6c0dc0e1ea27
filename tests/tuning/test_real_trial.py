"""One trial as it is: a training run in a process of its own, measured in two ways and read by the study."""

import json
from pathlib import Path

import pytest

from helpers.wandb_offline import wandb_records
from sr_lightning.tune import main
from sr_lightning.tuning.trial_run import validations


@pytest.mark.slow
def test_a_trial_is_an_ordinary_run_of_its_own(tiny, capsys):
    searched = ["+search.loss.alpha=[0.5,2.0]", "study=mine", "n_trials=1", "objectives=[gain,perceptual]"]
    assert main([*(a for a in tiny if a != "logger=csv"), *searched]) == 0
    run = Path("runs/tune/mine/0")
    document = json.loads((run / "results.json").read_text())
    found = validations(run)
    assert [step for step, _ in found] == [2, 4]
    assert max(values["gain"] for _, values in found) == pytest.approx(document["objective"], abs=1e-5)
    assert all(values["perceptual"] > 0 for _, values in found)
    assert "1 done" in capsys.readouterr().out
    (own,) = (row for row in document["rows"] if row["method"] != "bicubic")
    assert own["perceptual"] > 0  # of the test images
    (record,) = wandb_records(run)[1]["run"]
    assert (record["run_group"], record["job_type"], record["display_name"]) == ("mine", "trial", "mine/0")
