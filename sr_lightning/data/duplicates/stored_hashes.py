"""Hashes of all images of a store, computed once and kept next to it."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sr_lightning.data.cache.disk import keep
from sr_lightning.data.duplicates.fingerprint import hash_bits, perceptual_hash, pixel_hash, thumbnail
from sr_lightning.errors import UserError

if TYPE_CHECKING:
    from sr_lightning.data.images import ImageSource


@dataclass(frozen=True)
class StoredHashes:
    """Pixel hashes and perceptual hashes of N images."""

    pixels: list[str]
    """SHA-256 of each image's pixels."""
    bits: NDArray[np.bool_]
    """(N, orientations, 256) bits of the perceptual hashes."""


def stored_hashes(store: ImageSource, *, orientations: int) -> StoredHashes:
    """Reads the hashes of a store's images, or computes and stores them.

    Args:
        store: The images.
        orientations: Number of dihedral transforms (1 or 8) whose perceptual hashes are needed.

    Raises:
        UserError: The file of hashes has invalid content; packed sets come with their own.
    """
    file = store.derived_file(f".hashes{orientations}.json")
    if not file.is_file():
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            rows = list(pool.map(lambda i: image_hashes(store[i], orientations), range(len(store))))
        keep(file, json.dumps(rows))
    else:
        rows = read_hashes(file, len(store), orientations=orientations)
    bits = hash_bits([text for _, texts in rows for text in texts])
    return StoredHashes([pixels for pixels, _ in rows], bits.reshape(len(rows), orientations, -1))


def read_hashes(file: Path, n: int, *, orientations: int) -> list[tuple[str, list[str]]]:
    """Reads and validates a file of hashes, which is untrusted input.

    Args:
        file: Path of the file.
        n: Number of images.
        orientations: Number of perceptual hashes per image.

    Raises:
        UserError: The file does not hold that many hashes.
    """
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        if len(rows) == n and all(_is_row(row, orientations) for row in rows):
            return [(pixels, texts) for pixels, texts in rows]
    except (OSError, ValueError, TypeError, RecursionError):
        pass
    raise UserError(f"{file}: found no hashes of {n} images; allowed: remove it, or pack the images again")


def _is_row(row: Any, orientations: int) -> bool:
    pixels, texts = row
    return len(texts) == orientations and all(re.fullmatch(r"[0-9a-f]{64}", text) for text in (pixels, *texts))


def image_hashes(rgb: NDArray[np.uint8], orientations: int) -> tuple[str, list[str]]:
    """Returns the pixel hash of (H, W, 3) uint8, and its perceptual hashes in that many orientations."""
    thumb = thumbnail(rgb)
    return pixel_hash(rgb), [perceptual_hash(thumb, orientation) for orientation in range(orientations)]
