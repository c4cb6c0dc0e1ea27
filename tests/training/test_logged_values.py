"""What a run logs of its steps, read back from metrics.csv and from TensorBoard's files."""

import csv
import math
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def metrics(folder):
    with Path(folder, "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


def test_rates_shares_norms_and_tensorboard(tiny):
    """The rate of a row is the one that its step used (it was the next one's), by the schedule's closed form."""
    terms = ["loss.alpha=2", "loss.terms.gradient.weight=0.25", "+loss.warmup.gradient=[0,0.5]", "logger=tensorboard"]
    assert main([*tiny, "hydra.run.dir=a", "scheduler=cosine", "optimizer=sgd", "optimizer.lr=0.01", *terms]) == 0
    rows = [row for row in metrics("a") if "train/loss" in row]
    for k, row in enumerate(rows):  # Loshchilov and Hutter 2017, equation 5, over four steps
        assert float(row["lr"]) == pytest.approx(0.01 * 0.5 * (1 + math.cos(math.pi * k / 4)), rel=1e-6)
        total = float(row["train/loss"])
        weights = {"pixel": 2.0} | ({"gradient": 0.25 * min(k / 4 / 0.5, 1)} if k else {})  # it rises from 0
        assert ("train/loss/gradient" in row) == (k > 0)
        parts = {name: weight * float(row[f"train/loss/{name}"]) for name, weight in weights.items()}
        for name, part in parts.items():
            assert float(row[f"train/share/{name}"]) == pytest.approx(part / total, rel=1e-5)
        assert sum(float(row[f"train/share/{name}"]) for name in parts) == pytest.approx(1)
        assert 0 < float(row["train/grad_norm"]) < math.inf
    events = EventAccumulator("a/tensorboard")
    events.Reload()
    tags = events.Tags()
    names = {name for row in metrics("a") for name in row} - {"step"}
    assert set(tags["scalars"]) == names
    assert [event.step for event in events.Images("samples/heldout_x4_img_1")] == [2, 4]
    assert "test/heldout_x4_img_4" in tags["images"]
    found = HParamsPluginData.FromString(events.summary_metadata["_hparams_/experiment"].plugin_data.content)
    compared = {info.name.tag for info in found.experiment.metric_infos}
    assert {"val/psnr_y", "val/ssim_y", "val/gain"} <= compared <= names
    assert {"scale", "loss/alpha", "run/parameters"} <= {info.name for info in found.experiment.hparam_infos}
    assert [event.value for event in events.Scalars("val/gain")] == pytest.approx(
        [float(row["val/gain"]) for row in metrics("a") if "val/gain" in row]
    )
