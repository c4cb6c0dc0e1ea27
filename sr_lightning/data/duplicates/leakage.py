"""Warns when images are trained on that are tested on; cheap enough for every start of a run.

The decoded stores are at hand, so one pass over their pixels gives an exact hash and a perceptual one for each image.
Both are kept beside the store, and cost nothing at the next start. Crops are found by `check_data` only.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sr_lightning.data.duplicates.fingerprint import (
    HASH_RADIUS,
    TURNS,
    hash_bits,
    hash_distances,
    is_same,
    perceptual_hash,
    pixel_hash,
    thumbnail,
)
from sr_lightning.data.images import Images, ImageSource
from sr_lightning.files import write_atomically
from sr_lightning.text import listed

log = logging.getLogger(__name__)

_SHOWN = 5
_BLOCK = 10_000  # training images that are compared at once: a set in shards may hold millions


@dataclass(frozen=True)
class Hashes:
    """Of the images of a store."""

    pixels: list[str]
    bits: NDArray[np.bool_]
    """(N, turns, 256)."""


def warn_of_leakage(train: Images, val: Sequence[Images], test: Sequence[Images]) -> None:
    """Logs a warning that names the training images which are validated or tested on, if there are any."""
    leaks: dict[str, dict[Path, str]] = {}
    for images in [*test, *(images for images in val if images not in test)]:
        for i, j, how in _leaks(train.hr, images.hr):
            path = train.hr.paths[i]  # once, also where shrunk copies of it follow
            leaks.setdefault(images.name, {}).setdefault(path, f"{path} is {images.hr.paths[j].name} ({how})")
    for name, found in leaks.items():
        lines = list(found.values())
        log.warning(
            "%s holds %d of the training images, so its figures will be better than they should be:\n%s",
            name,
            len(lines),
            listed(lines, most=_SHOWN, indent="  "),
        )


def _leaks(train: ImageSource, tested: ImageSource) -> Iterator[tuple[int, int, str]]:
    ours, theirs = store_hashes(train, turns=1), store_hashes(tested, turns=8)
    known = {digest: j for j, digest in enumerate(theirs.pixels)}
    for i, digest in enumerate(ours.pixels):
        if i % _BLOCK == 0:
            block = ours.bits[i : i + _BLOCK, 0]
            distances = np.stack([hash_distances(block, theirs.bits[:, turn]) for turn in range(8)], axis=-1)
        if digest in known:
            yield i, known[digest], "the same pixels"
            continue
        near = distances[i % _BLOCK]
        for j in np.nonzero(near.min(-1) <= HASH_RADIUS)[0].tolist():
            turn = int(near[j].argmin())
            if is_same(thumbnail(train[i]), thumbnail(tested[j]), turn):
                how = "resized" if sorted(train.sizes[i]) != sorted(tested.sizes[j]) else "re-encoded"
                yield i, j, ", ".join(part for part in (TURNS[turn], how) if part)


def store_hashes(store: ImageSource, *, turns: int) -> Hashes:
    """Of each image, the perceptual one in so many turns; kept beside the store."""
    file = store.derived_file(f".hashes{turns}.json")
    if not file.is_file():
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            rows = list(pool.map(lambda i: hashes_of(store[i], turns), range(len(store))))
        write_atomically(file, json.dumps(rows), is_shared=True)
    rows = json.loads(file.read_text(encoding="utf-8"))
    bits = hash_bits([text for _, texts in rows for text in texts])
    return Hashes([pixels for pixels, _ in rows], bits.reshape(len(rows), turns, -1))


def hashes_of(rgb: NDArray[np.uint8], turns: int) -> tuple[str, list[str]]:
    """The hash of an image's pixels, and its perceptual one in so many turns."""
    thumb = thumbnail(rgb)
    return pixel_hash(rgb), [perceptual_hash(thumb, turn) for turn in range(turns)]
