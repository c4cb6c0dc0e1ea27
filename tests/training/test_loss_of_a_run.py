"""Loss terms in a run: switched on by their weights, logged one by one, no trace in the checkpoint."""

import json

import pytest

from helpers.training_runs import metrics, only_run, weights
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def test_the_perceptual_loss_runs_and_leaves_no_trace_in_the_checkpoint(tiny):
    """`loss.beta=0.01` on a machine without a network."""
    assert main([*tiny, "loss.beta=0.01", "trainer.max_steps=2"]) == 0
    run = only_run()
    assert float(metrics(run)[0]["train/loss/perceptual"]) > 0
    assert all(key.startswith("net.") for key in weights(run))
    row = metrics(run)[0]
    total = float(row["train/loss/pixel"]) + 0.01 * float(row["train/loss/perceptual"])
    assert float(row["train/loss"]) == pytest.approx(total, rel=1e-4)
    assert json.loads((run / "results.json").read_text())["rows"][1]["params"] < 10_000


def test_a_perceptual_loss_of_a_y_only_network(tiny):
    settings = [a for a in tiny if not a.startswith("model.")]
    assert main([*settings, "model=espcn", "loss.beta=0.1"]) == 0
    row = metrics(only_run())[0]
    total = float(row["train/loss/pixel"]) + 0.1 * float(row["train/loss/perceptual"])
    assert float(row["train/loss"]) == pytest.approx(total, rel=1e-4)


def test_every_shipped_loss_term_is_switched_on_by_its_weight(tiny):
    terms = ["ssim", "ms_ssim", "gradient", "tv", "frequency", "focal_frequency", "style"]
    short = ["trainer.max_steps=1", "trainer.val_check_interval=1"]
    assert main([*tiny, *short, *(f"loss.terms.{term}.weight=0.1" for term in terms)]) == 0
    (row, *_) = metrics(only_run())
    assert [term for term in terms if not float(row[f"train/loss/{term}"]) > 0] == []
    assert "train/loss/lpips" not in row
