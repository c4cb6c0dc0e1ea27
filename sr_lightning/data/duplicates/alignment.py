"""Alignment of a thumbnail with a window of another: the last and most accurate step of the duplicate search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Thumbnail = NDArray[np.uint8]
THUMBNAIL_SIDE = 160
"""Width and height of a thumbnail in pixels."""
GRID_STEPS = 20
"""Steps per axis at which a window of a thumbnail may begin and end: every 8 pixels."""
_FINE = 32  # side length at which gradients are compared


def align(large: Thumbnail, small: NDArray[Any], window: Sequence[int] | NDArray[np.int64]) -> tuple[float, float]:
    """Aligns a window by hill climbing over its sides, maximising the correlation of its gradients with `small`.

    Args:
        large: (160, 160) grey levels that contain the window.
        small: (160, 160) grey levels, compared as a whole.
        window: Initial left, top, width, height in grid steps.

    Returns:
        The correlation of the gradients (-1 to 1), and the window's share of the area of `large`.
    """
    source = Image.fromarray(large.astype(np.float32))
    whole = (0.0, 0.0, float(THUMBNAIL_SIDE), float(THUMBNAIL_SIDE))
    wanted = _gradients(Image.fromarray(np.ascontiguousarray(small, dtype=np.float32)), whole)
    x, y, w, h = (int(v) * THUMBNAIL_SIDE / GRID_STEPS for v in window)
    box = (x, y, x + w, y + h)
    best = float(_gradients(source, box) @ wanted)
    for step in (4.0, 2.0, 1.0, 0.5):
        for _ in range(3):
            before = best
            for move in _MOVES:
                left, top, right, bottom = (side + step * sign for side, sign in zip(box, move, strict=True))
                tried = (left, top, right, bottom)
                if (
                    min(tried) < 0
                    or max(tried) > THUMBNAIL_SIDE
                    or min(right - left, bottom - top) < THUMBNAIL_SIDE / 2
                ):
                    continue
                if (score := float(_gradients(source, tried) @ wanted)) > best:
                    best, box = score, tried
            if best == before:
                break
    return best, (box[2] - box[0]) * (box[3] - box[1]) / THUMBNAIL_SIDE**2


_AXES = ((1, 0, 1, 0), (0, 1, 0, 1), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))  # both sides, or one
_MOVES = tuple(tuple(sign * side for side in axis) for axis in _AXES for sign in (-1, 1))


def _gradients(source: Image.Image, box: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """Returns horizontal and vertical differences of a window at 32x32, as one vector of unit norm."""
    fine = np.asarray(source.resize((_FINE, _FINE), Image.Resampling.BILINEAR, box=box))
    both: NDArray[np.float32] = np.concatenate([np.diff(fine, axis=1).ravel(), np.diff(fine, axis=0).ravel()])
    both /= max(float(np.linalg.norm(both)), 1.0)
    return both
