"""Ready-made LR images that show another image than the HR image of their name, though their size may fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sr_lightning.data.duplicates.fingerprint import HASH_RADIUS, hash_distances, thumbnail
from sr_lightning.data.duplicates.search import is_same_image
from sr_lightning.data.duplicates.stored_hashes import stored_hashes
from sr_lightning.errors import UserError
from sr_lightning.text import listed

if TYPE_CHECKING:
    from sr_lightning.data.images import ImageSource

Bits = NDArray[np.bool_]


def find_mismatched(lr: Bits, hr: Bits, is_same: Callable[[int, int], bool]) -> Iterator[tuple[int, int]]:
    """LR images i that show HR image j instead of HR image i.

    A degradation may make an LR image unlike its own HR image: a mismatch is reported only where another HR image
    fits.

    Args:
        lr: (N, 256) perceptual hashes.
        hr: (N, 256), in the same order.
        is_same: An exact comparison of LR image i and HR image j.
    """
    for i in np.nonzero((lr != hr).sum(1) > HASH_RADIUS)[0].tolist():
        distances = hash_distances(lr[i : i + 1], hr)[0]
        nearest = int(distances.argmin())
        if distances[nearest] <= HASH_RADIUS and is_same(i, nearest):
            yield i, nearest


def refuse_mismatched(hr: ImageSource, lr: ImageSource) -> None:
    """Checks the pairs of two stores by hashes that are kept next to them, so that the next start costs nothing.

    Raises:
        UserError: LR images show another HR image than that of their name; it names them.
    """

    def is_same(i: int, j: int) -> bool:
        return is_same_image(thumbnail(lr[i]), thumbnail(hr[j]), 0)

    lr_bits, hr_bits = (stored_hashes(store, orientations=1).bits[:, 0] for store in (lr, hr))
    found = find_mismatched(lr_bits, hr_bits, is_same)
    lines = [f"{lr.paths[i]}: shows {hr.paths[j]}, but pairs with {hr.paths[i]}" for i, j in found]
    if lines:
        raise UserError(f"{listed(lines)}\nallowed: each LR image under the name of its own HR image")
