"""NIQE: Mittal, Soundararajan and Bovik, Making a "Completely Blind" Image Quality Analyzer, SPL 2013."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sr_lightning.image.color import rgb_to_y
from sr_lightning.image.resize import resize
from sr_lightning.metrics.base import find_in_hub, is_too_small, unit_levels

Array = NDArray[np.float64]

# File in torch's hub folder and its SHA-256.
PRISTINE = ("niqe_pris_params.npz", "2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296")
BLOCK = 96  # side in pixels of the blocks that the pristine model was estimated from
_SHAPES = np.arange(0.2, 10.0005, 0.001)  # candidate exponents of a fit
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


class Pristine(NamedTuple):
    """Multivariate Gaussian model of undistorted photographs."""

    mean: Array
    """(36,)"""
    covariance: Array
    """(36, 36)"""


class NIQE:
    """NIQE (Mittal et al. 2013) of the SR image; the HR image is not used.

    Luma is Y of 16 to 235, as in BasicSR and in the tables of super-resolution papers. The authors' own program uses
    MATLAB's `rgb2gray`, 0 to 255, and gives other values: on the five distorted images of the public calibration table
    (IQA-PyTorch, TID2013; original program 3.6549 for I04) ours differs from it by 0.04 to 0.39 with Y (3.7932), and by
    0 to 0.06 (3.6549) with `rgb2gray`. The remaining difference comes from flat regions, where the normalised
    coefficients are rounding errors whose signs depend on the order of summation (the same filter in one pass and in
    two gives 9.02 and 8.70 for I19, a third of which is flat; the original 8.64).

    Raises:
        WeightsMissingError: The model of pristine photographs is not in torch's hub folder. A model of our own would
            give values that are not comparable with any paper's.
    """

    name = "niqe"
    higher_is_better = False
    protocol = "NIQE: Y of 8-bit RGB, rounded, blocks of 96 pixels, the authors' pristine model"
    smallest = 2 * BLOCK  # a covariance needs several blocks

    def __init__(self) -> None:
        path = find_in_hub(PRISTINE, "NIQE needs its authors' pristine model as BasicSR has it,")
        with np.load(path, allow_pickle=False) as held:
            self._pristine = Pristine(held["mu_pris_param"].ravel().astype(float), held["cov_pris_param"].astype(float))

    def __call__(self, sr: Tensor, hr: Tensor) -> float:
        """See `QualityMetric`; NaN for a flat image as well."""
        sr, hr = unit_levels(sr, hr)
        if is_too_small(hr, self):
            return math.nan
        return niqe(rgb_to_y(sr)[0, 0].round().cpu().numpy(), self._pristine)


def niqe(luma: Array, pristine: Pristine) -> float:
    """Distance of an image's statistics from those of pristine photographs; lower is better.

    Args:
        luma: (H, W) integer levels from 0 to 255; cropped to multiples of 96.
        pristine: The model to compare with.

    Returns:
        Equation 10; NaN if fewer than two blocks of 96 pixels are not flat.
    """
    features = block_features(luma)  # (blocks, 36)
    features = features[np.isfinite(features).all(1)]
    if len(features) < 2:
        return float("nan")
    apart = pristine.mean - features.mean(0)
    pooled = (pristine.covariance + np.cov(features, rowvar=False)) / 2
    return float(np.sqrt(apart @ np.linalg.pinv(pooled) @ apart))


def block_features(luma: Array) -> Array:
    """Computes 18 features of each block at full size and 18 at half size (section II.C): (blocks, 36).

    Rows of flat blocks contain non-finite values.
    """
    rows, columns = luma.shape[0] // BLOCK, luma.shape[1] // BLOCK
    luma = luma[: rows * BLOCK, : columns * BLOCK].astype(np.float64)
    found = []
    for side in (BLOCK, BLOCK // 2):
        blocks = _normalised(luma).reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)
        found.append(_features(blocks))
        luma = resize(torch.from_numpy(luma), Fraction(1, 2)).numpy()
    return np.concatenate(found, axis=1)


def fit_generalised(x: Array) -> tuple[Array, Array, Array]:
    """Fits an asymmetric generalised Gaussian to each row, by moments (Lasmar et al. 2009; equation 7).

    Args:
        x: (N, samples).

    Returns:
        The exponent, and the scales left and right of zero, (N,) each.
    """
    from scipy.special import gamma

    with np.errstate(invalid="ignore", divide="ignore"):  # flat blocks have no samples on either side
        left, right = (np.sqrt((x**2).sum(1, where=side) / side.sum(1)) for side in (x < 0, x > 0))
        ratio = left / right
        moments = np.abs(x).mean(1) ** 2 / (x**2).mean(1)
        moments = moments * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
        inverse = 1 / _SHAPES
        expected = gamma(2 * inverse) ** 2 / (gamma(inverse) * gamma(3 * inverse))
        shape = _SHAPES[np.abs(expected - moments[:, None]).argmin(1)]
        width = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * width, right * width


def _features(blocks: Array) -> Array:
    """Features of (N, side, side): shape and scale of the coefficients, and four per neighbour product: (N, 18)."""
    from scipy.special import gamma

    shape, left, right = fit_generalised(blocks.reshape(len(blocks), -1))
    found = [shape, (left + right) / 2]
    for direction in _DIRECTIONS:  # wraps around the block's border, as in the authors' program
        product = blocks * np.roll(blocks, direction, axis=(1, 2))
        shape, left, right = fit_generalised(product.reshape(len(blocks), -1))
        found += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]  # equation 8
    return np.stack(found, axis=1)


def _normalised(luma: Array) -> Array:
    """Mean-subtracted contrast-normalised (MSCN) coefficients (equations 1 to 3), 7x7 window."""
    from scipy.ndimage import gaussian_filter

    def blurred(x: Array) -> Array:
        result: Array = gaussian_filter(x, 7 / 6, radius=3, mode="nearest")
        return result

    mean = blurred(luma)
    deviation = np.sqrt(np.abs(blurred(luma**2) - mean**2))
    normalised: Array = (luma - mean) / (deviation + 1)
    return normalised
