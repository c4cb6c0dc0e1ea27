"""Enlargement of an array to any size, yielded as blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sr_lightning.image.row_resampler import resampled, row_pieces, unit_range
from sr_lightning.inference.upscaler import Image, Upscaler
from sr_lightning.upscaling.size import Target


def enlarged_rows(upscaler: Upscaler, lr: Image, target: Target, dtype: type[Any]) -> Iterator[Image]:
    """Yields blocks (n, W, C) of successive rows of the image at its final size.

    Between two passes of the network the whole image is held in memory, at 16 bits per channel (floating point is kept
    as floating point).

    Args:
        upscaler: The network.
        lr: (h, w, C), with the colours of transparent pixels filled in (`image.alpha`).
        target: Target size.
        dtype: As in `Upscaler.rows`, except that floating point is clamped to [0, 1] too.
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
    rows = upscaler.rows(lr, np.float32) if target.passes else iter([unit_range(lr)])
    planes = (torch.from_numpy(part).permute(2, 0, 1) for block in rows for part in row_pieces(block))
    for resized in resampled(planes, made, target.size):
        yield _levels(resized, dtype)


def _levels(planes: Tensor, dtype: type[Any]) -> Image:
    """(C, n, W) in [0, 1] -> (n, W, C)."""
    x: Image = planes.permute(1, 2, 0).clamp(0, 1).numpy()
    if np.dtype(dtype).kind == "f":
        return np.ascontiguousarray(x)
    levels: Image = (x * np.float32(np.iinfo(dtype).max) + np.float32(0.5)).astype(dtype)
    return levels
