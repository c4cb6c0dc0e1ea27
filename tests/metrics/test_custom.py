"""Metrics of one's own, of torchmetrics and LR-PSNR, in evaluations and validations."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.evaluations import QUICK, document, mine, only_run, per_image, save_network
from helpers.imresize import imresize
from sr_lightning.compare import main as compare
from sr_lightning.config.metrics_check import checked_metrics, is_metric_name
from sr_lightning.errors import UserError
from sr_lightning.evaluate import main as evaluate
from sr_lightning.image.resize import resize
from sr_lightning.metrics.custom import CustomMetric
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")
TORCHMETRICS = "torchmetrics.image.PeakSignalNoiseRatio"
OWN = """
import torch

class MeanError:
    higher_is_better = False
    def __call__(self, sr, hr):
        return (sr - hr).abs().mean()

class Wrong:
    higher_is_better = True
    def __call__(self, sr, hr):
        return sr - hr

def brightness(sr, hr):
    return float(sr.mean())
"""


@pytest.fixture
def _own(tmp_path, monkeypatch):
    (tmp_path / "own_metrics.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)


def header(path):
    """The columns of a CSV file."""
    return set(Path(path).read_text().splitlines()[0].split(","))


@pytest.mark.usefixtures("_own")
def test_own_classes_torchmetrics_and_lr_psnr_in_an_evaluation(folder, tmp_path, capsys):
    """Their figures are those of the saved images, shaved, in [0, 1]; ours stand beside them.

    For LR-PSNR nothing is shaved, and LR is what the set has.
    """
    path = save_network(tmp_path / "a.ckpt")
    own = [
        "+metrics.mae={_target_: own_metrics.MeanError}",
        f"+metrics.rgb={{_target_: {TORCHMETRICS}, data_range: 1.0}}",
    ]
    ours = ["+metrics.ms_ssim=true", "+metrics.lr_psnr=true"]
    assert evaluate([*QUICK, f"checkpoint={path}", *mine(folder), *own, *ours, "save_pictures=true"]) == 0
    said = capsys.readouterr().out
    assert "mae (lower is better): MeanError" in said
    assert "rgb (higher is better): PeakSignalNoiseRatio" in said
    assert "lr_psnr (higher is better): LR-PSNR in dB: 8-bit RGB shrunk" in said
    row = next(row for row in per_image() if (row["name"], row["method"]) == ("img_0.png", "EDSR"))
    (picture,) = only_run().glob("pictures/EDSR*/Mine/x4/img_0.png")
    a, b = (np.asarray(Image.open(file), np.float64) / 255 for file in (picture, folder / "img_0.png"))
    a, b = (x[: 96 - 4, : 112 - 4][4:, 4:] for x in (a, b))
    assert float(row["mae"]) == pytest.approx(np.abs(a - b).mean(), rel=1e-4)
    assert float(row["rgb"]) == pytest.approx(-10 * np.log10(((a - b) ** 2).mean()), rel=1e-4)
    hr = torch.from_numpy(np.array(Image.open(folder / "img_0.png"))).permute(2, 0, 1)  # 96 x 112
    lr = resize(hr, 1 / 4).permute(1, 2, 0).numpy() / 255
    sr = np.asarray(Image.open(picture)) / 255
    shrunken = np.stack([imresize(sr[..., c], 1 / 4) for c in range(3)], axis=-1).clip(0, 1)
    assert float(row["lr_psnr"]) == pytest.approx(-10 * np.log10(((shrunken - lr) ** 2).mean()), abs=1e-3)
    assert all(20 < row["lr_psnr"] < 60 for row in document()["rows"])
    columns = set().union(*document()["rows"], row, header(only_run() / "results.csv"))
    assert {name for name in columns if is_metric_name(name)} == {"mae", "rgb", "ms_ssim", "lr_psnr"}


@pytest.mark.usefixtures("_own")
def test_own_metrics_at_validations_choose_the_best(tiny, capsys):
    """By a value of which less is better; bicubic's stands beside it as beside ours, and `compare` shows it."""
    watch = ["+val_metrics.mae={_target_: own_metrics.MeanError}", "callbacks.checkpoints.monitor=val/mae"]
    watch += ["+val_metrics.lr_psnr=true"]
    assert main([*tiny, *watch, "hydra.run.dir=a"]) == 2  # mode=max is the other way round
    assert main([*tiny, *watch, "callbacks.checkpoints.mode=min", "hydra.run.dir=a"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"step +[24]  loss .*\n {14}mae 0\.\d{4}  lr_psnr \d\d\.\d\d\n", out)) == 2
    for told in (out, Path("a/train.log").read_text()):
        assert re.search(
            r"Further metrics\n\nset +method +mae +lr_psnr\n─+\nheldout x4 +bicubic +0\.\d{4} +\d\d\.\d\d\n", told
        )
    with Path("a/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/mae"]]
    assert [int(row["step"]) for row in rows] == [2, 4]
    best = torch.load("a/checkpoints/best.ckpt", weights_only=True)["global_step"]
    assert best == min((float(row["val/mae"]), int(row["step"])) for row in rows)[1]
    assert all(float(row["val/heldout/x4/bicubic_mae"]) > 0 for row in rows)
    assert all(row["val/lr_psnr"] and float(row["val/heldout/x4/bicubic_lr_psnr"]) > 20 for row in rows)
    found = json.loads(Path("a/results.json").read_text())
    assert all("mae" in row and "lr_psnr" in row for row in found["rows"])
    capsys.readouterr()
    assert compare(["runs=a", "page=false", "plots=false", "rank_by=mae", "output=compared"]) == 0
    assert "mae: less is better" in " ".join(capsys.readouterr().out.split())
    columns = set().union(*found["rows"])
    for file in ("a/per_image.csv", "compared/table.csv"):
        columns |= header(file)
    # What is left are metrics, and settings of the training that are named `section.key` or are no single word.
    assert {name for name in columns if is_metric_name(name)} == {"mae", "lr_psnr"}


@pytest.mark.usefixtures("_own")
@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("{_target_: own_metrics.brightness, _partial_: true}", "does not say whether higher is better"),
        ("{_target_: own_metrics.Wrong}", "Wrong gave (1, 3, 256, 256), allowed: a number"),
        ("{_target_: own_metrics.Nothing}", "cannot build own_metrics.Nothing"),
        (
            "true",
            "found 'mine', allowed: dists, lpips, lr_psnr, ms_ssim, niqe, perceptual, perceptual_hed",
        ),
    ],
)
def test_what_is_no_metric_is_told(section, said, folder, capsys):
    assert evaluate([*QUICK, "model=bicubic", "scale=4", *mine(folder), f"+metrics.mine={section}"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["score", "images", "texture", "bicubic_x", "é", "x" * 41])
def test_names_that_are_taken_are_refused(name):
    """A column of another meaning would be replaced, or ours would be taken for it."""
    findings = []
    checked_metrics("metrics", {name: {"_target_": "torch.nn.L1Loss"}}, findings)
    assert [finding for finding in findings if finding.startswith(f"metrics.{name}: ") and "allowed" in finding]


def test_a_function_is_told_its_direction():
    metric = CustomMetric("x", lambda sr, hr: (sr - hr).square().mean(), higher_is_better=False)
    image = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    assert metric(image, image) == 0
    with pytest.raises(UserError, match=r"x: .* fails on 256x256 pixels: ZeroDivisionError"):
        CustomMetric("x", lambda sr, hr: 1 / 0, higher_is_better=True)


def test_a_loss_of_torchs_is_better_where_it_is_lower():
    """As those of piq are: `piq.GMSDLoss` derives from torch's `_Loss`."""
    assert CustomMetric("x", torch.nn.L1Loss(), higher_is_better=None).higher_is_better is False
    assert CustomMetric("x", torch.nn.L1Loss(), higher_is_better=True).higher_is_better is True  # what is said counts
    with pytest.raises(UserError, match=r"allowed: \+metrics\.x\.higher_is_better=true or false"):
        CustomMetric("metrics.x", lambda sr, hr: 1.0, higher_is_better=None)


def test_a_module_is_asked_in_evaluation_mode():
    """Dropout would give another number each time."""

    class Noisy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = torch.nn.Dropout()

        def forward(self, sr, hr):
            return self.drop(sr - hr).abs().mean()

    metric = CustomMetric("x", Noisy(), higher_is_better=False)
    sr, hr = (torch.full((1, 3, 8, 8), level, dtype=torch.uint8) for level in (51, 0))
    assert [metric(sr, hr) for _ in range(3)] == pytest.approx([0.2] * 3)


def test_numpys_numbers_are_numbers():
    metric = CustomMetric("x", lambda sr, hr: np.abs(sr.numpy() - hr.numpy()).mean(), higher_is_better=False)
    sr, hr = (torch.full((1, 3, 8, 8), level, dtype=torch.uint8) for level in (51, 0))
    assert metric(sr, hr) == pytest.approx(0.2)
