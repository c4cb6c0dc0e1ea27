"""imresize against an independent implementation, torch's own, and itself on windows."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from sr_lightning.data.sampling.crops import window
from sr_lightning.image.resize import margin, resize

SIZES = [(24, 24), (25, 31), (33, 26), (48, 49)]


def cubic(x):
    """Keys 1981, a = -0.5."""
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def triangle(x):
    return np.maximum(1 - np.abs(x), 0)


def box(x):
    return ((x >= -0.5) & (x < 0.5)).astype(float)


def lanczos3(x):
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


KERNELS = {"bicubic": (cubic, 4), "bilinear": (triangle, 2), "box": (box, 1), "lanczos3": (lanczos3, 6)}


def matrix(n_in, scale, kernel, width, antialias=True):
    """The weights of every output as rows of a dense matrix, as MATLAB documents imresize."""
    n_out = int(np.ceil(n_in * scale - 1e-9))
    stretch = scale if scale < 1 and antialias else 1.0
    rows = np.zeros((n_out, n_in))
    for i in range(n_out):
        centre = (i + 1) / scale + 0.5 * (1 - 1 / scale)  # counted from 1
        left = int(np.floor(centre - width / stretch / 2))
        taps = np.arange(left, left + int(np.ceil(width / stretch)) + 2)
        weights = kernel(stretch * (centre - taps))
        mirror = np.concatenate([np.arange(n_in), np.arange(n_in)[::-1]])
        for tap, weight in zip(taps, weights / weights.sum(), strict=True):
            rows[i, mirror[(tap - 1) % (2 * n_in)]] += weight
    return rows


def imresize(x, scale, kernel="bicubic", antialias=True):
    """x: (H, W) float."""
    function, width = KERNELS[kernel]
    rows = matrix(x.shape[0], scale, function, width, antialias)
    columns = matrix(x.shape[1], scale, function, width, antialias)
    return rows @ x @ columns.T


@pytest.mark.parametrize("kernel", list(KERNELS))
@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_equals_an_independent_imresize_borders_included(size, factor, down, kernel):
    x = np.random.default_rng(0).uniform(0, 1, size)
    scale = Fraction(1, factor) if down else Fraction(factor)
    ours = resize(torch.from_numpy(x), scale, kernel=kernel)
    np.testing.assert_allclose(ours.numpy(), imresize(x, float(scale), kernel), atol=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("size", SIZES)
def test_bytes_are_rounded_half_up(size, factor):
    x = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)
    for scale in (Fraction(1, factor), Fraction(factor)):
        exact = imresize(x.astype(float), float(scale))
        ours = resize(torch.from_numpy(x), scale).numpy()
        near_half = np.abs(exact - np.floor(exact) - 0.5) < 1e-9  # there the reference itself cannot decide
        expected = np.floor(exact + 0.5).clip(0, 255)
        np.testing.assert_array_equal(ours[~near_half], expected[~near_half])


def test_without_antialiasing_and_with_other_factors():
    x = np.random.default_rng(2).uniform(0, 1, (30, 41))
    ours = resize(torch.from_numpy(x), Fraction(1, 3), antialias=False)
    np.testing.assert_allclose(ours.numpy(), imresize(x, 1 / 3, antialias=False), atol=1e-12)
    for scale in (Fraction(3, 2), Fraction(2, 5), 0.71, 1.37):
        ours = resize(torch.from_numpy(x), scale)
        np.testing.assert_allclose(ours.numpy(), imresize(x, float(scale)), atol=1e-6)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_equals_torchs_antialiased_bicubic_inside(factor):
    x = torch.rand(1, 3, 60, 72, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torchs = torch.nn.functional.interpolate(x, scale_factor=1 / factor, mode="bicubic", antialias=True)
    inside = (..., slice(3, -3), slice(3, -3))
    torch.testing.assert_close(resize(x, Fraction(1, factor))[inside], torchs[inside], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear", "nearest", "box", "lanczos3"])
@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_a_window_with_margin_gives_the_whole_images_pixels_bit_for_bit(factor, kernel):
    image = np.random.default_rng(3).integers(0, 256, (16 * factor, 13 * factor, 3), dtype=np.uint8)
    scale = Fraction(1, factor)
    whole = resize(torch.from_numpy(image.transpose(2, 0, 1).copy()), scale, kernel=kernel)
    m, p = margin(kernel, scale), 5
    for top in range(16 - p + 1):
        for left in range(13 - p + 1):
            cut = window(image, (top - m) * factor, (left - m) * factor, *[(p + 2 * m) * factor] * 2)
            patch = resize(torch.from_numpy(cut.transpose(2, 0, 1).copy()), scale, kernel=kernel)
            patch = patch[:, m : m + p, m : m + p]
            assert torch.equal(patch, whole[:, top : top + p, left : left + p])


def test_constant_images_stay_constant():
    for level in (0, 1, 127, 254, 255):
        x = torch.full((3, 21, 34), level, dtype=torch.uint8)
        for scale in (Fraction(1, 3), Fraction(1, 4), Fraction(2), Fraction(3)):
            assert resize(x, scale).unique().tolist() == [level]


def test_size_and_type():
    x = torch.rand(2, 3, 25, 31)
    assert resize(x, Fraction(1, 4)).shape == (2, 3, 7, 8)
    assert resize(x, Fraction(2)).shape == (2, 3, 50, 62)
    assert resize(x, Fraction(2)).dtype == torch.float32
    assert resize(x.half(), Fraction(2)).dtype == torch.float16
