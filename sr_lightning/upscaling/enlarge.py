"""An array through the network to any size, as blocks of rows, and how consistent they are with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sr_lightning.image.row_resampler import RowResampler, resampled
from sr_lightning.inference.upscaler import Image, Upscaler
from sr_lightning.upscaling.size import Target

_ROWS = 64  # that are looked at together, so that what floating point takes stays small


def enlarged_rows(upscaler: Upscaler, lr: Image, target: Target, dtype: type[Any]) -> Iterator[Image]:
    """Blocks (n, W, C) of successive rows of the image at its final size.

    Between two passes of the network an image is held whole, with 16 bits a channel (floating point: as it is).

    Args:
        upscaler: The network.
        lr: (h, w, C), transparent colours spread (`image.alpha`).
        target: The size.
        dtype: As in `Upscaler.rows`; floating point is clamped to [0, 1], too.
    """
    between: type[Any] = np.float32 if lr.dtype.kind == "f" else np.uint16
    for _ in range(target.passes - 1):
        lr = np.concatenate(list(upscaler.rows(lr, between)))
    factor = target.scale if target.passes else 1
    made = lr.shape[0] * factor, lr.shape[1] * factor
    if target.passes and target.size == made:
        for block in upscaler.rows(lr, dtype):
            yield block.clip(0, 1) if block.dtype.kind == "f" else block
        return
    rows = upscaler.rows(lr, np.float32) if target.passes else iter([_unit(lr)])
    planes = (torch.from_numpy(part).permute(2, 0, 1) for block in rows for part in _pieces(block))
    for resized in resampled(planes, made, target.size):
        yield _levels(resized, dtype)


class Consistency:
    """PSNR of the shrunken result against the image it was made from ("LR-PSNR", Lugmayr et al. 2021, NTIRE).

    Args:
        lr: (h, w, C), as it went into the network; C without alpha counts.
        size: (H, W) of the result.
    """

    def __init__(self, lr: Image, size: tuple[int, int]) -> None:
        self._lr = lr[..., : lr.shape[2] - (lr.shape[2] % 2 == 0)]
        self._resampler = RowResampler(size, (lr.shape[0], lr.shape[1]))
        self._row, self._squares = 0, 0.0

    def watch(self, rows: Iterable[Image]) -> Iterator[Image]:
        """Hands rows on, and looks at them."""
        for block in rows:
            for piece in _pieces(block[..., : self._lr.shape[2]]):
                self._add(self._resampler.push(torch.from_numpy(_unit(piece)).permute(2, 0, 1)))
            yield block

    def _add(self, shrunken: Tensor) -> None:
        stop = self._row + shrunken.shape[1]
        expected = torch.from_numpy(_unit(self._lr[self._row : stop])).permute(2, 0, 1)
        self._squares += float((shrunken - expected).square().sum(dtype=torch.float64))
        self._row = stop

    @property
    def psnr(self) -> float:
        """In dB, once all rows have passed; infinite where nothing differs."""
        mean = self._squares / self._lr.size
        return math.inf if mean == 0 else -10 * math.log10(mean)


def _pieces(block: Image) -> Iterator[Image]:
    for row in range(0, len(block), _ROWS):
        yield block[row : row + _ROWS]


def _unit(levels: Image) -> Image:
    """float32 in [0, 1]."""
    if levels.dtype.kind == "f":
        return levels
    unit: Image = levels.astype(np.float32) / np.float32(np.iinfo(levels.dtype).max)
    return unit


def _levels(planes: Tensor, dtype: type[Any]) -> Image:
    """(C, n, W) in [0, 1] -> (n, W, C)."""
    x: Image = planes.permute(1, 2, 0).clamp(0, 1).numpy()
    if np.dtype(dtype).kind == "f":
        return np.ascontiguousarray(x)
    levels: Image = (x * np.float32(np.iinfo(dtype).max) + np.float32(0.5)).astype(dtype)
    return levels
