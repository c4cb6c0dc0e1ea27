"""Bicubic resampling to any size of an image whose rows arrive in blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = NDArray[Any]
"""(n, W, C) uint8, uint16, or floating point in [0, 1]."""
_AT_ONCE = 64  # rows processed at a time, to limit the memory for their floating-point copies
_BLOCK = 32  # output positions per matrix product: wider ones multiply more zeros


class RowResampler:
    """`resize` with MATLAB's bicubic kernel and antialiasing, in float32, with only a few rows in memory.

    An axis of n positions is resampled to m by the factor m / n, so that the corners of the images coincide.

    Args:
        source: (H, W) of the incoming image.
        target: (H, W) of the result.
    """

    def __init__(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        self._rows = _bands(source[0], target[0])
        self._columns = _bands(source[1], target[1])
        self._held = torch.empty(0)
        self._first = 0  # source row at which `_held` begins
        self._next = 0  # index into `_rows`

    def push(self, rows: Tensor) -> Tensor:
        """Takes the next rows and returns the result rows that can be computed by now.

        Args:
            rows: (C, n, W) floating point, on the CPU.

        Returns:
            (C, m, W'), float32, not clamped; m may be 0.
        """
        rows = rows.float()
        self._held = torch.cat([self._held, rows], dim=1) if self._held.numel() else rows
        known = self._first + self._held.shape[1]
        done: list[Tensor] = []
        while self._next < len(self._rows) and self._rows[self._next].stop <= known:
            band = self._rows[self._next]
            seen = self._held[:, band.start - self._first : band.stop - self._first]
            done.append(self._narrowed(band.weights @ seen))  # (C, n', W)
            self._next += 1
        if self._next < len(self._rows) and (spent := self._rows[self._next].start - self._first) > 0:
            self._held = self._held[:, spent:].clone()
            self._first += spent
        width = sum(band.weights.shape[0] for band in self._columns)
        return torch.cat(done, dim=1) if done else torch.empty(rows.shape[0], 0, width)

    def _narrowed(self, x: Tensor) -> Tensor:
        """(C, n, W) -> (C, n, W')."""
        return torch.cat([x[..., band.start : band.stop] @ band.weights.T for band in self._columns], dim=-1)


def resampled(rows: Iterable[Tensor], source: tuple[int, int], target: tuple[int, int]) -> Iterator[Tensor]:
    """Resamples blocks (C, n, W) of successive rows through a `RowResampler`, skipping empty blocks."""
    resampler = RowResampler(source, target)
    for block in rows:
        if (done := resampler.push(block)).shape[1]:
            yield done


class _Band(NamedTuple):
    """Successive output positions, and the input positions that contribute to them."""

    start: int
    stop: int
    weights: Tensor
    """(output positions, stop - start)."""


def _bands(n: int, m: int) -> list[_Band]:
    factor = m / n
    stretch = min(factor, 1.0)  # the kernel is widened when downscaling
    reach = 2 / stretch
    bands = []
    for first in range(0, m, _BLOCK):
        positions = np.arange(first, min(first + _BLOCK, m))
        centres = (positions + 0.5) / factor - 0.5
        taps = np.floor(centres - reach).astype(int)[:, None] + np.arange(math.ceil(2 * reach) + 2)
        weights = _cubic((centres[:, None] - taps) * stretch)
        weights /= weights.sum(axis=1, keepdims=True)
        taps = _mirrored(taps, n)
        start, stop = int(taps[weights != 0].min()), int(taps[weights != 0].max()) + 1
        matrix = np.zeros((len(positions), stop - start))
        inside = weights != 0
        rows = np.broadcast_to(np.arange(len(positions))[:, None], taps.shape)
        np.add.at(matrix, (rows[inside], taps[inside] - start), weights[inside])
        bands.append(_Band(start, stop, torch.from_numpy(matrix).float()))
    return bands


def _mirrored(index: NDArray[np.int_], n: int) -> NDArray[np.int_]:
    """Reflects indices symmetrically at the border."""
    index = index % (2 * n)
    return np.where(index < n, index, 2 * n - 1 - index)


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic kernel with a = -0.5 (Keys 1981, eq. 15)."""
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def row_pieces(block: Rows) -> Iterator[Rows]:
    """Splits a block into pieces of a few rows."""
    for row in range(0, len(block), _AT_ONCE):
        yield block[row : row + _AT_ONCE]


def unit_range(levels: Rows) -> Rows:
    """Converts integer levels to float32 in [0, 1]; floating point is returned unchanged."""
    if levels.dtype.kind == "f":
        return levels
    unit: Rows = levels.astype(np.float32) / np.float32(np.iinfo(levels.dtype).max)
    return unit
