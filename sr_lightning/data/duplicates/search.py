"""Search for duplicate images: exact, re-encoded, resized, flipped, rotated or cropped.

Three steps, each on fewer pairs than the one before: equality of the pixel hashes; correlation of 8x8 descriptors of
the whole image and of each window that covers at least 60 % of it; and, for the few pairs that look alike, an alignment
after which their gradients have to agree. On the classic sets (491 training images against 19), duplicates correlate by
at least 0.95 in the last step, other pairs by less than 0.45.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sr_lightning.data.duplicates.alignment import GRID_STEPS, THUMBNAIL_SIDE, Thumbnail, align
from sr_lightning.data.duplicates.fingerprint import ORIENTATIONS, Fingerprint, reoriented

_CELLS = 8  # per side of a window; a step has as many pixels, so that every cell covers whole pixels
_MIN_AREA = 0.575  # of a window: 60 %, less a tolerance for the step size
_COARSE_CORRELATION = 0.7  # of descriptors at every second step; duplicates had at least 0.79
_FINE_CORRELATION = 0.9  # of descriptors at every step; duplicates had at least 0.95
_GRADIENT_CORRELATION = 0.75  # after alignment


@dataclass(frozen=True)
class Duplicate:
    """A pair that shows the same image: `first[i]` and `second[j]`."""

    i: int
    j: int
    how: str
    """How `first[i]` differs from `second[j]`, in words."""


def find_duplicates(first: Sequence[Fingerprint], second: Sequence[Fingerprint]) -> Iterator[Duplicate]:
    """Yields pairs that show the same image, even if one shows only a part of the other (60 % or more)."""
    found: dict[tuple[int, int], str] = {}
    first_with: dict[str, list[int]] = {}
    for j, fingerprint in enumerate(second):
        first_with.setdefault(fingerprint.pixels, []).append(j)
    for i, fingerprint in enumerate(first):
        found |= {(i, j): "same pixels" for j in first_with.get(fingerprint.pixels, [])}
    for j, i, area, how in _crops(second, first):
        found.setdefault((i, j), _joined(how, _difference(first[i], second[j], area, "a crop of {:.0%}")))
    for i, j, area, how in _crops(first, second):
        found.setdefault((i, j), _joined(how, _difference(first[i], second[j], area, "with more around it")))
    yield from (Duplicate(i, j, how) for (i, j), how in sorted(found.items()))


def find_duplicates_within(fingerprints: Sequence[Fingerprint]) -> Iterator[Duplicate]:
    """Yields pairs within one set, j < i: the same pixels, or re-encoded, resized, flipped or rotated as a whole."""
    targets = _whole_descriptors(fingerprints)
    first_with: dict[str, int] = {}
    for i, fingerprint in enumerate(fingerprints):
        if (same := first_with.setdefault(fingerprint.pixels, i)) != i:
            yield Duplicate(i, same, "same pixels")
            continue
        correlations = (targets[:, 8 * i] @ targets[:, : 8 * i]).reshape(i, 8)
        for j in np.nonzero(correlations.max(1, initial=0) > _FINE_CORRELATION)[0].tolist():
            orientation = int(correlations[j].argmax())
            if is_same_image(fingerprint.thumb, fingerprints[j].thumb, orientation):
                yield Duplicate(i, j, _joined(ORIENTATIONS[orientation], _difference(fingerprint, fingerprints[j])))


def is_same_image(first: Thumbnail, second: Thumbnail, orientation: int) -> bool:
    """Checks by the last of the three steps alone whether two whole images match, the second reoriented first."""
    return align(first, reoriented(second, orientation), (0, 0, GRID_STEPS, GRID_STEPS))[0] > _GRADIENT_CORRELATION


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _difference(first: Fingerprint, second: Fingerprint, area: float = 1.0, partly: str = "") -> str:
    if area < 0.97:
        return partly.format(area)
    if sorted(first.size) != sorted(second.size):
        return f"resized from {second.size[1]}x{second.size[0]}"
    return "re-encoded"


# -- windows -------------------------------------------------------------------------------------------


@functools.cache
def _windows() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns (W, 4) left, top, width, height in steps, and each window's cell corners in an integral image."""
    sides = range(GRID_STEPS // 2, GRID_STEPS + 1)
    boxes = [
        (x, y, w, h)
        for w in sides
        for h in sides
        if w * h >= _MIN_AREA * GRID_STEPS**2
        for x in range(GRID_STEPS + 1 - w)
        for y in range(GRID_STEPS + 1 - h)
    ]
    step, corners = THUMBNAIL_SIDE // GRID_STEPS, np.arange(_CELLS + 1)
    box = np.array(boxes)
    columns = box[:, :1] * step + box[:, 2:3] * corners  # cell side in pixels = window side in steps
    rows = box[:, 1:2] * step + box[:, 3:] * corners
    return box, rows[:, :, None] * (THUMBNAIL_SIDE + 1) + columns[:, None, :]


def _descriptors(thumb: Thumbnail) -> NDArray[np.float32]:
    """Returns (W, 64): the 8x8 means of each window, with mean 0 and norm 1, or less if it is nearly flat."""
    box, corners = _windows()
    integral = np.zeros((THUMBNAIL_SIDE + 1, THUMBNAIL_SIDE + 1), np.int32)
    np.cumsum(np.cumsum(thumb, 0, dtype=np.int32), 1, out=integral[1:, 1:])
    cells = np.diff(np.diff(integral.ravel()[corners], axis=1), axis=2).astype(np.float32).reshape(len(box), -1)
    return _normalised(cells / (box[:, 2] * box[:, 3]).astype(np.float32)[:, None])


def _whole_descriptors(fingerprints: Sequence[Fingerprint]) -> NDArray[np.float32]:
    """Returns (64, 8 · N): the descriptors of whole images, each in its eight orientations."""
    cells = [
        p.thumb.reshape(_CELLS, -1, _CELLS, THUMBNAIL_SIDE // _CELLS).mean((1, 3), dtype=np.float32)
        for p in fingerprints
    ]
    turns = np.array([reoriented(cell, orientation) for cell in cells for orientation in range(8)], dtype=np.float32)
    return np.ascontiguousarray(_normalised(turns.reshape(-1, _CELLS**2)).T)


def _normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = rows - rows.mean(1, keepdims=True)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    # The norm is at least that of one grey level of contrast: anything flatter is noise, and matches nothing.
    normalised: NDArray[np.float32] = rows / np.maximum(norms, np.float32(rows.shape[1] ** 0.5))[:, None]
    return normalised


def _crops(large: Sequence[Fingerprint], small: Sequence[Fingerprint]) -> Iterator[tuple[int, int, float, str]]:
    """Yields indices, share of the area and orientation if an image of `small` is all or part of one of `large`."""
    if not small:
        return
    targets = _whole_descriptors(small)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy releases the GIL in the slow steps
        parts = pool.map(lambda fingerprint: list(_crops_of(fingerprint, small, targets)), large)
        for i, found in enumerate(parts):
            yield from ((i, j, area, how) for j, area, how in found)


def _crops_of(
    whole: Fingerprint, small: Sequence[Fingerprint], targets: NDArray[np.float32]
) -> Iterator[tuple[int, float, str]]:
    """Yields those images of `small`, with descriptors `targets`, that show all or part of the whole image."""
    boxes, _ = _windows()
    coarse = np.nonzero((boxes % 2 == 0).all(1))[0]
    descriptors = _descriptors(whole.thumb)
    # Every second step of the sides is enough to select the pairs that deserve a comparison of all windows.
    candidates = np.nonzero((descriptors[coarse] @ targets).max(0) > _COARSE_CORRELATION)[0]
    correlations = descriptors @ targets[:, candidates]  # (W, candidates)
    best: dict[int, tuple[float, int, int]] = {}
    for column, window, score in zip(candidates, correlations.argmax(0), correlations.max(0), strict=True):
        j, orientation = divmod(int(column), 8)
        best[j] = max(best.get(j, (_FINE_CORRELATION, -1, 0)), (float(score), int(window), orientation))
    for j, (_, window, orientation) in best.items():
        if window < 0:
            continue
        score, area = align(whole.thumb, reoriented(small[j].thumb, orientation), boxes[window])
        if score > _GRADIENT_CORRELATION:
            yield j, area, ORIENTATIONS[orientation]
