"""Misalignment of ready-made LR images with their HR images, measured by phase correlation.

A shift of a few pixels passes every check of size and content, but costs decibels. Downscalers place the centre of an
LR pixel differently, by up to (scale - 1) / 2 HR pixels, equally on both axes (`hr[::scale, ::scale]` is the extreme).
That is a convention, not an error, so a pair is only considered misaligned if no such convention fits as well.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sr_lightning.text import listed

if TYPE_CHECKING:
    from sr_lightning.data.images import ImageSource

log = logging.getLogger(__name__)

_SAMPLE = 16  # pairs of a set that a run examines
_SIDE = 256  # side of the compared centre crop in LR pixels
_LEAST_SIDE = 16  # LR pixels; smaller images cannot be measured
_UPSAMPLING = 20  # shifts are measured in steps of 1/20 LR pixel
_LEAST_SHIFT = 0.35  # HR pixels from the nearest convention
_GAIN = 1.1  # factor by which the residual is below that of any convention; at most 1.08 for aligned pairs
_MOST_RESIDUAL = 0.5  # 1 - correlation; above it, the two are different images


@dataclass(frozen=True)
class Shift:
    """Displacement of an LR image's content, in HR pixels; positive is down and right."""

    down: float
    right: float
    is_misaligned: bool
    """Whether no downscaler's convention explains the shift."""

    def __str__(self) -> str:
        vertical = f"{abs(self.down):.1f} {'down' if self.down >= 0 else 'up'}"
        return f"{vertical} and {abs(self.right):.1f} {'right' if self.right >= 0 else 'left'}"


def measure_shift(lr: NDArray[np.uint8], hr: NDArray[np.uint8], scale: int) -> Shift | None:
    """Measures the shift of a pair.

    Args:
        lr: LR image, (h, w, 3).
        hr: HR image, (H, W, 3), with H // scale = h and W // scale = w.
        scale: Scale factor.

    Returns:
        The shift; None if it cannot be determined: the images are too small, flat, or different.
    """
    from skimage.filters import window  # few runs have ready-made LR; the others need not wait for this import
    from skimage.registration import phase_cross_correlation

    height, width = (min(side, _SIDE) for side in lr.shape[:2])
    top, left = (lr.shape[0] - height) // 2, (lr.shape[1] - width) // 2
    found = _grey(lr[top : top + height, left : left + width])
    source = Image.fromarray(_grey(hr))
    if min(height, width) < _LEAST_SIDE or found.std() < 1:
        return None

    def expected(down: float, right: float, margin: int) -> NDArray[np.float32]:
        """Returns the shifted and downscaled HR image, without a margin of `margin` LR pixels."""
        box = (left + margin, top + margin, left + width - margin, top + height - margin)
        x0, y0, x1, y1 = (scale * side for side in box)
        moved = (x0 - right, y0 - down, x1 - right, y1 - down)
        size = (width - 2 * margin, height - 2 * margin)
        return np.asarray(source.resize(size, Image.Resampling.BICUBIC, box=moved))

    smooth = window("hann", found.shape)
    images = ((image - image.mean()) * smooth for image in (expected(0, 0, 0), found))
    down, right = (-float(side) * scale for side in phase_cross_correlation(*images, upsample_factor=_UPSAMPLING)[0])
    margin = math.ceil(max(abs(down), abs(right), scale) / scale) + 2
    if min(height, width) - 2 * margin < _LEAST_SIDE / 2:
        return None

    def residual(down: float, right: float) -> float:
        return 1 - _correlation(found[margin:-margin, margin:-margin], expected(down, right, margin))

    if (unmoved := residual(0, 0)) < residual(down, right):  # noise and JPEG blocks cause peaks of their own
        down, right = 0.0, 0.0
    down, right = _refined(residual, down, right, step=scale / 4)
    best = residual(down, right)
    if best > _MOST_RESIDUAL:
        return None
    centre = (scale - 1) / 2
    convention = min(max((down + right) / 2, -centre), centre)  # the nearest one
    is_far = max(abs(down - convention), abs(right - convention)) >= _LEAST_SHIFT
    return Shift(down, right, is_far and min(unmoved, residual(convention, convention)) >= _GAIN * best)


def _refined(residual: Callable[[float, float], float], down: float, right: float, step: float) -> tuple[float, float]:
    """Returns the minimum near a point, from a parabola fitted along each axis, twice."""
    for _ in range(2):
        here = residual(down, right)
        moves = []
        for y, x in ((step, 0.0), (0.0, step)):
            before, after = residual(down - y, right - x), residual(down + y, right + x)
            curvature = before - 2 * here + after
            moves.append(min(max((before - after) / (2 * curvature), -1.0), 1.0) * step if curvature > 0 else 0.0)
        down, right = down + moves[0], right + moves[1]
    return down, right


def common_shift(shifts: Sequence[Shift]) -> Shift | None:
    """Returns the median shift of aligned pairs if at least half an HR pixel: another downscaler's convention."""
    aligned = [shift for shift in shifts if not shift.is_misaligned]
    if not aligned:
        return None
    down, right = (float(np.median([getattr(shift, axis) for shift in aligned])) for axis in ("down", "right"))
    return Shift(down, right, False) if min(abs(down), abs(right)) >= 0.5 else None


def warn_about_shifts(name: str, hr: ImageSource, lr: ImageSource, scale: int) -> None:
    """Measures a sample of a set's pairs at the start of a run, and warns about misaligned ones.

    Args:
        name: Name of the set.
        hr: HR images.
        lr: LR images in the same order.
        scale: Scale factor.
    """
    count = min(len(lr.sizes), _SAMPLE)
    sample = [int((k + 0.5) * len(lr.sizes) / count) for k in range(count)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda i: measure_shift(lr[i], hr[i], scale), sample))
    shifts = {lr.paths[i]: shift for i, shift in zip(sample, found, strict=True) if shift is not None}
    wrong = [f"{path}: by {shift}" for path, shift in shifts.items() if shift.is_misaligned]
    if wrong:
        log.warning(
            "%s x%d: %d of %d pairs looked at are misaligned: in HR pixels the LR image is shifted\n%s\n"
            "`python -m sr_lightning.check_data` looks at all of them",
            *(name, scale, len(wrong), len(shifts), listed(wrong, indent="  ")),
        )
    if (common := common_shift(list(shifts.values()))) is not None:
        log.warning("%s x%d: %s", name, scale, CONVENTION.format(shift=common))


CONVENTION = (
    "the LR images are shifted by {shift} HR pixels against bicubic's, as some downscalers do; networks learn it, but "
    "bicubic's figures and networks trained with other LR images suffer"
)


def _grey(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(rgb).convert("L"), dtype=np.float32)


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-9))
