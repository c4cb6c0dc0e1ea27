"""LR-PSNR against an independent imresize, closed forms, and in evaluations and validations."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.evaluations import QUICK, document, mine, only_run, per_image, save_network
from helpers.imresize import imresize
from sr_lightning.evaluate import main as evaluate
from sr_lightning.image.resize import resize
from sr_lightning.metrics.lr_psnr import LRPSNR, lr_psnr
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def by_definition(sr, lr):
    """(H, W, 3) and (h, w, 3), uint8."""
    scale = lr.shape[0] / sr.shape[0]
    shrunken = np.stack([imresize(sr[..., c] / 255, scale) for c in range(3)], axis=-1)
    return -10 * np.log10(((shrunken.clip(0, 1) - lr / 255) ** 2).mean())


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_equals_the_psnr_of_an_independent_imresize(scale):
    """Borders, every channel and more rows than are looked at together included."""
    drawn = np.random.default_rng(scale)
    lr = drawn.integers(0, 256, (37, 26, 3), dtype=np.uint8)
    sr = drawn.integers(0, 256, (37 * scale, 26 * scale, 3), dtype=np.uint8)
    a, b = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in (sr, lr))
    assert LRPSNR()(a, b) == pytest.approx(by_definition(sr, lr), abs=1e-4)
    assert LRPSNR()(a / 255, b / 255) == pytest.approx(by_definition(sr, lr), abs=1e-4)


def test_flat_images():
    """Shrunk, they stay what they are."""
    sr, lr = torch.full((1, 3, 64, 48), 102 / 255), torch.full((1, 3, 16, 12), 102 / 255)
    assert lr_psnr(sr, lr) > 120
    assert lr_psnr(sr, lr + 0.1) == pytest.approx(20, abs=1e-3)
    assert math.isnan(lr_psnr(sr * math.nan, lr))
    with pytest.raises(ValueError, match=r"found \(1, 3, 64, 48\) and \(1, 1, 16, 12\)"):
        lr_psnr(sr, lr[:, :1])


def test_hr_itself_reaches_what_the_rounding_of_lr_leaves(image):
    hr = torch.from_numpy(image(96, 128, seed=0)).permute(2, 0, 1)[None]
    assert 56 < lr_psnr(hr, resize(hr, 1 / 4)) < 60


def test_in_an_evaluation_it_is_that_of_the_saved_image(folder, tmp_path, capsys):
    """Nothing is shaved, LR is what the set has, and other metrics get HR as before."""
    path = save_network(tmp_path / "a.ckpt")
    arguments = [*QUICK, f"checkpoint={path}", *mine(folder), "metrics=[lr_psnr,ms_ssim]", "save_pictures=true"]
    assert evaluate(arguments) == 0
    assert "lr_psnr (higher is better): LR-PSNR in dB: 8-bit RGB shrunk" in capsys.readouterr().out
    row = next(row for row in per_image() if (row["name"], row["method"]) == ("img_0.png", "EDSR"))
    (picture,) = only_run().glob("pictures/EDSR*/Mine/x4/img_0.png")
    hr = np.array(Image.open(folder / "img_0.png"))
    hr = hr[: hr.shape[0] // 4 * 4, : hr.shape[1] // 4 * 4]
    lr = resize(torch.from_numpy(hr).permute(2, 0, 1), 1 / 4).permute(1, 2, 0).numpy()
    assert float(row["lr_psnr"]) == pytest.approx(by_definition(np.asarray(Image.open(picture)), lr), abs=1e-3)
    assert all(20 < row["lr_psnr"] < 60 for row in document()["rows"])


def test_at_validations_it_chooses_the_best(tiny):
    watch = ["val_metrics=[lr_psnr]", "callbacks.checkpoints.monitor=val/lr_psnr"]
    assert main([*tiny, *watch, "hydra.run.dir=a"]) == 0
    with Path("a/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/lr_psnr"]]
    assert len(rows) == 2
    assert all(float(row["val/heldout/x4/bicubic_lr_psnr"]) > 20 for row in rows)
    best = torch.load("a/checkpoints/best.ckpt", weights_only=True)["global_step"]
    assert best == max((float(row["val/lr_psnr"]), int(row["step"])) for row in rows)[1]
    assert all("lr_psnr" in row for row in json.loads(Path("a/results.json").read_text())["rows"])


def test_what_is_scored_is_what_a_file_would_hold(image):
    lr = torch.from_numpy(image(24, 32, seed=1)).permute(2, 0, 1)[None]
    sr = lr.repeat_interleave(4, 2).repeat_interleave(4, 3) / 255 + 0.4 / 255  # rounds to the same levels
    assert lr_psnr(sr, lr) == lr_psnr((sr * 255).to(torch.uint8), lr)
