"""Does training still work? Minutes long: `pytest -m slow tests/test_reproduction.py`."""

import json
from pathlib import Path

import pytest

from sr_lightning.train import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.usefixtures("_hydras_logging")]


def gains():
    (run,) = Path("runs/train").iterdir()
    rows = json.loads((run / "results.json").read_text())["rows"]
    return {(row["set"], row["scale"]): row["gain"] for row in rows if row["method"] != "bicubic"}


def test_the_default_run_reaches_what_the_readme_says():
    """28 K parameters on ten photographs; the README's 6,000 steps give +1.58 dB."""
    assert main(["trainer.max_steps=3000", "logger=csv"]) == 0
    assert gains()["sample_test", 4] > 1.45


def test_the_classic_training_images_give_fsrcnns_figure(sr_data, monkeypatch):
    """FSRCNN (Dong et al. 2016): 30.72 dB on Set5 x4, 2.29 dB above bicubic."""
    monkeypatch.setenv("SR_DATA", str(sr_data))
    assert main(["experiment=quick/edsr_tiny_y_t291_x4", "logger=csv"]) == 0
    assert gains()["Set5", 4] > 30.72 - 28.43
