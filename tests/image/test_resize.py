"""imresize against files that MATLAB wrote, its documented algorithm, exact fractions, torch, and itself on windows."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from helpers.imresize import KERNELS, imresize
from sr_lightning.data.sampling.crops import window
from sr_lightning.image.color import read_rgb
from sr_lightning.image.resize import margin, resize

SIZES = [(24, 24), (25, 31), (33, 26), (48, 49)]


@pytest.mark.parametrize("kernel", list(KERNELS))
@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_equals_an_independent_imresize_borders_included(size, factor, down, kernel):
    x = np.random.default_rng(0).uniform(0, 1, size)
    scale = Fraction(1, factor) if down else Fraction(factor)
    ours = resize(torch.from_numpy(x), scale, kernel=kernel)
    np.testing.assert_allclose(ours.numpy(), imresize(x, float(scale), kernel), atol=1e-12)


def matlab_on_bytes(image, scale, kernel="bicubic"):
    """MATLAB's imresize.m of (H, W) uint8, pixel by pixel: along the dimension of the smaller scale first, where both
    are equal along the first one; `uint8` rounds half up after each."""
    function, width = KERNELS[kernel]
    for dimension in (0, 1):
        lines = [list(map(float, line)) for line in (image if dimension == 1 else image.T)]
        n_in = len(lines[0])
        n_out = int(np.ceil(n_in * scale - 1e-9))
        stretched = width / min(scale, 1)
        aux = [*range(n_in), *range(n_in - 1, -1, -1)]
        result = np.zeros((len(lines), n_out), np.uint8)
        for x in range(1, n_out + 1):
            u = x / scale + 0.5 * (1 - 1 / scale)
            left = int(np.floor(u - stretched / 2))
            indices = [left + i for i in range(int(np.ceil(stretched)) + 2)]
            weights = [min(scale, 1) * float(function(np.float64(min(scale, 1) * (u - i)))) for i in indices]
            weights = [weight / sum(weights) for weight in weights]
            taps = [(aux[(i - 1) % len(aux)], weight) for i, weight in zip(indices, weights, strict=True) if weight]
            for row, line in enumerate(lines):
                level = sum(weight * line[i] for i, weight in taps)
                result[row, x - 1] = min(max(int(np.floor(level + 0.5)), 0), 255)
        image = result if dimension == 1 else result.T
    return image


@pytest.mark.parametrize(
    ("size", "factor", "kernel"),
    [((25, 31), factor, kernel) for factor in (2, 3, 4, 8) for kernel in ("bicubic", "bilinear", "lanczos3")]
    + [(size, *case) for size in SIZES if size != (25, 31) for case in ((3, "bicubic"), (2, "lanczos3"))],
)
def test_bytes_are_rounded_half_up_after_each_pass(size, factor, kernel):
    """Noise of all levels, and of few: at even factors many sums then lie exactly between two levels."""
    generator = np.random.default_rng(1)
    for levels in (256, 3):
        x = generator.integers(0, levels, size, dtype=np.uint8) * (255 // (levels - 1))
        for scale in (Fraction(1, factor), Fraction(factor)):
            ours = resize(torch.from_numpy(x), scale, kernel=kernel).numpy()
            np.testing.assert_array_equal(ours, matlab_on_bytes(x, float(scale), kernel))


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("size", SIZES)
def test_doubles_are_rounded_once(size, factor):
    x = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)
    for scale in (Fraction(1, factor), Fraction(factor)):
        exact = imresize(x.astype(float), float(scale))
        ours = resize(torch.from_numpy(x), scale, kernel="bicubic_double").numpy()
        near_half = np.abs(exact - np.floor(exact) - 0.5) < 1e-9  # there the reference itself cannot decide
        expected = np.floor(exact + 0.5).clip(0, 255)
        np.testing.assert_array_equal(ours[~near_half], expected[~near_half])


NAMES = ("baby", "bird", "butterfly", "head", "woman")  # img_001 to img_005 of Set5


@pytest.mark.parametrize(("factor", "kernel"), [(2, "bicubic"), (3, "bicubic"), (4, "bicubic"), (8, "bicubic_double")])
def test_lr_is_the_files_that_matlab_wrote(sr_data, factor, kernel):
    """As published with SwinIR and IMDN; those of x8 were made from doubles."""
    root = sr_data / "test"
    if not (root / "Set5_LR_matlab").is_dir():
        pytest.skip("needs test/Set5_LR_matlab")
    for number, name in enumerate(NAMES, 1):
        hr = read_rgb(root / "Set5" / f"img_{number:03}.png")
        hr = hr[: hr.shape[0] // factor * factor, : hr.shape[1] // factor * factor]
        lr = resize(torch.from_numpy(hr.transpose(2, 0, 1).copy()), Fraction(1, factor), kernel=kernel)
        matlabs = read_rgb(root / "Set5_LR_matlab" / f"X{factor}" / f"{name}x{factor}.png")
        np.testing.assert_array_equal(lr.permute(1, 2, 0).numpy(), matlabs)


def in_fractions(column, scale):
    """One pass over a column of levels without any rounding error: a tie is a tie."""
    stretch, n = min(scale, Fraction(1)), len(column)
    for i in range(math.ceil(n * scale)):
        centre = (i + Fraction(1, 2)) / scale - Fraction(1, 2)
        taps = range(math.ceil(centre - 2 / stretch), math.floor(centre + 2 / stretch) + 1)
        x = [abs(centre - tap) * stretch for tap in taps]
        weights = [(3 * d**3 - 5 * d**2 + 2) / 2 if d <= 1 else (-(d**3) + 5 * d**2 - 8 * d + 4) / 2 for d in x]
        mirrored = [min(tap % (2 * n), 2 * n - 1 - tap % (2 * n)) for tap in taps]
        total = sum(weight * column[tap] for weight, tap in zip(weights, mirrored, strict=True)) / sum(weights)
        yield min(max(math.floor(total + Fraction(1, 2)), 0), 255)


@pytest.mark.parametrize("scale", ["1/2", "1/3", "1/4", "1/6", "3/5", "4/5", "2", "3", "4", "6"])
def test_ties_and_their_neighbours_are_rounded_exactly(scale):
    """Few levels make many sums that are ties, or as near to one as whole weights allow."""
    x = np.random.default_rng(4).integers(0, 3, (9, 8) if scale in ("4", "6") else (17, 14)) * 127
    rows = np.array([list(in_fractions(column.tolist(), Fraction(scale))) for column in x.T]).T
    both = np.array([list(in_fractions(row.tolist(), Fraction(scale))) for row in rows])
    ours = resize(torch.from_numpy(x.astype(np.uint8)), Fraction(scale))
    np.testing.assert_array_equal(ours.numpy(), both)


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


@pytest.mark.parametrize("kernel", ["bicubic", "bicubic_double", "bilinear", "nearest", "box", "lanczos3"])
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
