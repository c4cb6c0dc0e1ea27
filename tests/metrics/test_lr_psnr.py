"""LR-PSNR against an independent imresize and closed forms; test_custom has it in evaluations and validations."""

import math

import numpy as np
import pytest
import torch

from helpers.imresize import imresize
from sr_lightning.image.resize import resize
from sr_lightning.metrics.lr_psnr import LRPSNR, lr_psnr


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


def test_what_is_scored_is_what_a_file_would_hold(image):
    lr = torch.from_numpy(image(24, 32, seed=1)).permute(2, 0, 1)[None]
    sr = lr.repeat_interleave(4, 2).repeat_interleave(4, 3) / 255 + 0.4 / 255  # rounds to the same levels
    assert lr_psnr(sr, lr) == lr_psnr((sr * 255).to(torch.uint8), lr)
