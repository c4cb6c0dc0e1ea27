"""NIQE against samples of known distributions, and against its equations one by one.

With the authors' parameters (not included) the image baboon has 5.7297; their program gives 5.7296.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy.ndimage import convolve
from scipy.optimize import brentq
from scipy.special import gamma
from scipy.stats import gennorm

from sr_lightning.image.resize import resize
from sr_lightning.metrics.niqe import Pristine, block_features, fit_generalised, niqe


@pytest.mark.parametrize("shape", [0.6, 1.0, 2.0, 4.0])  # 1: Laplace, 2: Gauss
def test_exponents_and_widths_are_found_again(shape):
    x = gennorm.rvs(shape, scale=3.0, size=(2, 200_000), random_state=0)
    x[1] = np.where(x[1] < 0, x[1] / 3, x[1])  # narrow on the left
    # Left and right of a skewed one hold as many samples as their widths are wide.
    rng = np.random.default_rng(0)
    keep = np.concatenate([x[1][x[1] > 0], rng.choice(x[1][x[1] < 0], (x[1] > 0).sum() // 3)])
    even, skewed = (fit_generalised(part[None]) for part in (x[0], keep))
    assert np.concatenate(even) == pytest.approx([shape, 3, 3], rel=0.03)
    assert np.concatenate(skewed) == pytest.approx([shape, 1, 3], rel=0.06)


def fit_by_hand(x):
    x = x.ravel()
    left, right = math.sqrt(np.mean(x[x < 0] ** 2)), math.sqrt(np.mean(x[x > 0] ** 2))
    ratio = left / right
    moments = np.mean(np.abs(x)) ** 2 / np.mean(x**2) * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = brentq(lambda a: gamma(2 / a) ** 2 / (gamma(1 / a) * gamma(3 / a)) - moments, 0.2, 10)
    width = math.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * width, right * width


def features_by_hand(luma):
    line = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window = np.outer(line, line) / line.sum() ** 2
    rows = []
    for level in range(2):
        side = 96 >> level
        mean = convolve(luma, window, mode="nearest")
        deviation = np.sqrt(np.abs(convolve(luma**2, window, mode="nearest") - mean**2))
        x = (luma - mean) / (deviation + 1)
        for k, (top, left) in enumerate((t, u) for t in range(2) for u in range(2)):
            block = x[top * side : (top + 1) * side, left * side : (left + 1) * side]
            shape, low, high = fit_by_hand(block)
            row = [shape, (low + high) / 2]
            for step in ((0, 1), (1, 0), (1, 1), (1, -1)):
                shape, low, high = fit_by_hand(block * np.roll(block, step, (0, 1)))
                row += [shape, (high - low) * gamma(2 / shape) / gamma(1 / shape), low, high]
            rows = [*rows, row] if level == 0 else [*rows[:k], rows[k] + row, *rows[k + 1 :]]
        luma = resize(torch.from_numpy(luma), Fraction(1, 2)).numpy()
    return np.array(rows)


def natural(height, width, seed):
    """Noise with the spectrum of photographs (1 / f), in whole levels."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = 1
    x = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(height, width))) / frequency, s=(height, width))
    return (x / x.std() * 40 + 128).round().clip(0, 255)


@pytest.fixture
def luma():
    return natural(200, 230, 3)


def test_features_and_distance_follow_the_equations(luma):
    by_hand = features_by_hand(luma[:192, :192])
    assert block_features(luma) == pytest.approx(by_hand, abs=2e-3)  # exponents are sought in steps of 0.001
    rng = np.random.default_rng(0)
    a = rng.normal(size=(36, 50))
    pristine = Pristine(rng.random(36), a @ a.T / 50)
    apart = pristine.mean - by_hand.mean(0)
    expected = math.sqrt(apart @ np.linalg.inv((pristine.covariance + np.cov(by_hand.T)) / 2) @ apart)
    assert niqe(luma, pristine) == pytest.approx(expected, rel=1e-2)


def test_distortions_are_farther_from_pristine_images(luma):
    seen = np.concatenate([block_features(natural(288, 384, seed)) for seed in range(20, 30)])
    pristine = Pristine(seen.mean(0), np.cov(seen.T))
    blurred = Image.fromarray(luma.astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.5))
    noisy = (luma + np.random.default_rng(0).normal(0, 25, luma.shape)).round().clip(0, 255)
    distances = [niqe(x, pristine) for x in (luma, np.asarray(blurred, float), noisy)]
    assert distances[0] < min(distances[1:])


def test_flat_blocks_do_not_count(luma):
    pristine = Pristine(np.zeros(36), np.eye(36))
    assert math.isnan(niqe(np.full((192, 192), 128.0), pristine))
    half = luma[:192, :192].copy()
    half[:96] = 128
    assert math.isfinite(niqe(half, pristine))
