"""Notices ready-made LR images that lie under another image's name; their sizes may fit all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sr_lightning.data.duplicates.fingerprint import HASH_RADIUS, hash_distances, is_same, thumbnail
from sr_lightning.errors import UserError
from sr_lightning.text import listed

if TYPE_CHECKING:
    from sr_lightning.data.images import ImageSource

Bits = NDArray[np.bool_]


def find_swapped(lr: Bits, hr: Bits, is_alike: Callable[[int, int], bool]) -> Iterator[tuple[int, int]]:
    """LR images i that are not the HR image i made smaller, but another one, j.

    A degradation may make an LR image unlike its own HR image. So one is told only where another is found.

    Args:
        lr: (N, 256) perceptual hashes.
        hr: (N, 256), in the same order.
        is_alike: A closer look at LR image i and HR image j.
    """
    for i in np.nonzero((lr != hr).sum(1) > HASH_RADIUS)[0].tolist():
        distances = hash_distances(lr[i : i + 1], hr)[0]
        nearest = int(distances.argmin())
        if distances[nearest] <= HASH_RADIUS and is_alike(i, nearest):
            yield i, nearest


def refuse_swapped(hr: ImageSource, lr: ImageSource) -> None:
    """Compares hashes that are kept beside the stores, so that it costs nothing at the next start.

    Raises:
        UserError: LR images show another HR image than that of their name; it names them.
    """
    from sr_lightning.data.duplicates.leakage import store_hashes  # stores bring torch, which `check_data` does without

    def is_alike(i: int, j: int) -> bool:
        return is_same(thumbnail(lr[i]), thumbnail(hr[j]), 0)

    found = find_swapped(store_hashes(lr, turns=1).bits[:, 0], store_hashes(hr, turns=1).bits[:, 0], is_alike)
    lines = [f"{lr.paths[i]}: shows {hr.paths[j]}, but pairs with {hr.paths[i]}" for i, j in found]
    if lines:
        raise UserError(f"{listed(lines)}\nallowed: each LR image under the name of its own HR image")
