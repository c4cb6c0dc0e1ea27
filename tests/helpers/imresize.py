"""MATLAB's imresize on floating point as its documentation has it: dense matrices, independent of the package."""

import numpy as np


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
