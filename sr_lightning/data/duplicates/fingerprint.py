"""Finds an image again: by its pixels exactly, and re-encoded, resized, flipped, turned or cropped.

Three steps, each on fewer pairs than the one before: the SHA-256 of the pixels; correlation of 8x8 descriptors of
the whole image and of each window that holds 60 % of it or more; and, for the few pairs that look alike, an
alignment after which their gradients have to agree. On the classic sets (491 training images against 19) copies
correlate by 0.95 and more in the last step, and images that are none by less than 0.45.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sr_lightning.data.duplicates.alignment import SIDE, STEPS, Thumbnail, aligned

_MIRRORED = ("mirrored left-right", "mirrored and turned", "mirrored top-bottom", "mirrored and turned")
TURNS = ("", "a quarter turn", "a half turn", "a quarter turn", *_MIRRORED)
"""What each of the eight turns is called."""
HASH_BITS = 256
HASH_RADIUS = 48
"""Bits by which two pHashes of one image may differ: 30 at a quarter of its size as JPEG 30, 82 if unrelated."""

_CELLS = 8  # of a window, each way; a step is as many pixels, so that every cell is whole pixels
_LEAST_AREA = 0.575  # of a window: 60 %, less what lies between two steps
_PERHAPS = 0.7  # correlation of descriptors at every second step; of a copy it was 0.79 at least
_ALIKE = 0.9  # correlation of descriptors; of a copy it was 0.95 at least
_SAME = 0.75  # correlation of aligned gradients


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of an image to find it again."""

    size: tuple[int, int]
    """(H, W)."""
    pixels: str
    """SHA-256 of size and pixels."""
    thumb: Thumbnail
    """(160, 160) grey levels."""


@dataclass(frozen=True)
class Copy:
    """`first[i]` and `second[j]` show the same image."""

    i: int
    j: int
    how: str
    """What was done to `second[j]` to make `first[i]`, in words."""


def pixel_hash(rgb: NDArray[np.uint8]) -> str:
    """SHA-256 over the size and the pixels of (H, W, 3) uint8: the same for every lossless file of an image."""
    digest = hashlib.sha256(f"{rgb.shape[0]}x{rgb.shape[1]}".encode())
    digest.update(np.ascontiguousarray(rgb).data)
    return digest.hexdigest()


def thumbnail(rgb: NDArray[np.uint8]) -> Thumbnail:
    """(H, W, 3) uint8 -> (160, 160) uint8 of its grey levels; the sides are stretched to a square."""
    grey = Image.fromarray(rgb).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0))


def fingerprint(rgb: NDArray[np.uint8]) -> Fingerprint:
    """Of (H, W, 3) uint8."""
    return Fingerprint((rgb.shape[0], rgb.shape[1]), pixel_hash(rgb), thumbnail(rgb))


def perceptual_hash(thumb: Thumbnail, turn: int = 0) -> str:
    """The 256-bit pHash of a thumbnail, turned first: the low 16x16 of its DCT against their median, as 64 digits."""
    return str(imagehash.phash(Image.fromarray(np.ascontiguousarray(turned(thumb, turn))), hash_size=16))


def turned(square: NDArray[Any], turn: int) -> NDArray[Any]:
    """One of the eight flips and quarter turns of (N, N); `TURNS` names them."""
    return np.rot90(square if turn < 4 else square[:, ::-1], turn % 4)


def find_copies(first: Sequence[Fingerprint], second: Sequence[Fingerprint]) -> Iterator[Copy]:
    """Pairs that show the same image, also where one holds only a part of the other (60 % and more)."""
    found: dict[tuple[int, int], str] = {}
    known: dict[str, list[int]] = {}
    for j, print_ in enumerate(second):
        known.setdefault(print_.pixels, []).append(j)
    for i, print_ in enumerate(first):
        found |= {(i, j): "same pixels" for j in known.get(print_.pixels, [])}
    for j, i, area, how in _within(second, first):
        found.setdefault((i, j), _joined(how, _how(first[i], second[j], area, "a crop of {:.0%}")))
    for i, j, area, how in _within(first, second):
        found.setdefault((i, j), _joined(how, _how(first[i], second[j], area, "with more around it")))
    yield from (Copy(i, j, how) for (i, j), how in sorted(found.items()))


def find_repeats(prints: Sequence[Fingerprint]) -> Iterator[Copy]:
    """Pairs within one set, j < i: the same pixels, or re-encoded, resized, flipped or turned as a whole."""
    wanted = _whole_descriptors(prints)
    known: dict[str, int] = {}
    for i, print_ in enumerate(prints):
        if (same := known.setdefault(print_.pixels, i)) != i:
            yield Copy(i, same, "same pixels")
            continue
        likeness = (wanted[:, 8 * i] @ wanted[:, : 8 * i]).reshape(i, 8)
        for j in np.nonzero(likeness.max(1, initial=0) > _ALIKE)[0].tolist():
            turn = int(likeness[j].argmax())
            if is_same(print_.thumb, prints[j].thumb, turn):
                yield Copy(i, j, _joined(TURNS[turn], _how(print_, prints[j])))


def is_same(first: Thumbnail, second: Thumbnail, turn: int) -> bool:
    """Whether two whole images, the second turned first, are the same: the last of the three steps alone."""
    return aligned(first, turned(second, turn), (0, 0, STEPS, STEPS))[0] > _SAME


def hash_bits(hashes: Sequence[str]) -> NDArray[np.bool_]:
    """(N, 256) of N perceptual hashes."""
    digits = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8)
    return np.unpackbits(digits).reshape(len(hashes), HASH_BITS).astype(np.bool_)


def hash_distances(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Differing bits of each pair: (N, 256), (M, 256) -> (N, M)."""
    x, y = a.astype(np.float32), b.astype(np.float32)  # a matrix product is the fastest way to count them
    distances: NDArray[np.int64] = np.rint(x.sum(1)[:, None] + y.sum(1)[None] - 2 * (x @ y.T)).astype(np.int64)
    return distances


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _how(first: Fingerprint, second: Fingerprint, area: float = 1.0, partly: str = "") -> str:
    if area < 0.97:
        return partly.format(area)
    if sorted(first.size) != sorted(second.size):
        return f"resized from {second.size[1]}x{second.size[0]}"
    return "re-encoded"


# -- windows -------------------------------------------------------------------------------------------


@functools.cache
def _windows() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(W, 4) left, top, width, height in steps, and for each the corners of its cells in an integral image."""
    sides = range(STEPS // 2, STEPS + 1)
    boxes = [
        (x, y, w, h)
        for w in sides
        for h in sides
        if w * h >= _LEAST_AREA * STEPS**2
        for x in range(STEPS + 1 - w)
        for y in range(STEPS + 1 - h)
    ]
    step, corners = SIDE // STEPS, np.arange(_CELLS + 1)
    box = np.array(boxes)
    columns = box[:, :1] * step + box[:, 2:3] * corners  # a step holds 8 pixels: cells are as many pixels as steps
    rows = box[:, 1:2] * step + box[:, 3:] * corners
    return box, rows[:, :, None] * (SIDE + 1) + columns[:, None, :]


def _descriptors(thumb: Thumbnail) -> NDArray[np.float32]:
    """(W, 64): the 8x8 means of each window, with mean 0 and norm 1, or 0 where it is flat."""
    box, corners = _windows()
    integral = np.zeros((SIDE + 1, SIDE + 1), np.int32)
    np.cumsum(np.cumsum(thumb, 0, dtype=np.int32), 1, out=integral[1:, 1:])
    cells = np.diff(np.diff(integral.ravel()[corners], axis=1), axis=2).astype(np.float32).reshape(len(box), -1)
    return _normalised(cells / (box[:, 2] * box[:, 3]).astype(np.float32)[:, None])


def _whole_descriptors(prints: Sequence[Fingerprint]) -> NDArray[np.float32]:
    """(64, 8 · N): the descriptors of whole images, each in its eight turns."""
    cells = [p.thumb.reshape(_CELLS, -1, _CELLS, SIDE // _CELLS).mean((1, 3), dtype=np.float32) for p in prints]
    turns = np.array([turned(cell, turn) for cell in cells for turn in range(8)], dtype=np.float32)
    return np.ascontiguousarray(_normalised(turns.reshape(-1, _CELLS**2)).T)


def _normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = rows - rows.mean(1, keepdims=True)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    # A grey level of contrast is the least: what is flatter than that is noise, and is like nothing.
    normalised: NDArray[np.float32] = rows / np.maximum(norms, np.float32(rows.shape[1] ** 0.5))[:, None]
    return normalised


def _within(large: Sequence[Fingerprint], small: Sequence[Fingerprint]) -> Iterator[tuple[int, int, float, str]]:
    """Where an image of `small` is one of `large` or a part of it: indices, share of the area, turn."""
    if not small:
        return
    wanted = _whole_descriptors(small)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy lets go of the interpreter in the steps that take long
        parts = pool.map(lambda print_: list(_parts_of(print_, small, wanted)), large)
        for i, found in enumerate(parts):
            yield from ((i, j, area, how) for j, area, how in found)


def _parts_of(
    whole: Fingerprint, small: Sequence[Fingerprint], wanted: NDArray[np.float32]
) -> Iterator[tuple[int, float, str]]:
    """Those of `small`, whose descriptors are `wanted`, that are the whole image or a part of it."""
    boxes, _ = _windows()
    coarse = np.nonzero((boxes % 2 == 0).all(1))[0]
    descriptors = _descriptors(whole.thumb)
    # Every second step of the sides is enough to tell which pairs deserve a look at all windows.
    maybe = np.nonzero((descriptors[coarse] @ wanted).max(0) > _PERHAPS)[0]
    likeness = descriptors @ wanted[:, maybe]  # (W, maybe)
    best: dict[int, tuple[float, int, int]] = {}
    for column, window, score in zip(maybe, likeness.argmax(0), likeness.max(0), strict=True):
        j, turn = divmod(int(column), 8)
        best[j] = max(best.get(j, (_ALIKE, -1, 0)), (float(score), int(window), turn))
    for j, (_, window, turn) in best.items():
        if window < 0:
            continue
        score, area = aligned(whole.thumb, turned(small[j].thumb, turn), boxes[window])
        if score > _SAME:
            yield j, area, TURNS[turn]
