"""Detection of ready-made LR images that show a different image than the HR image of the same name."""

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
    """Yields indices of LR images i that show HR image j instead of HR image i.

    A degradation may make an LR image unlike its own HR image, so a mismatch is reported only if another HR image
    fits.

    Args:
        lr: (N, 256) bits of perceptual hashes.
        hr: (N, 256) bits, in the same order.
        is_same: Exact comparison of LR image i and HR image j.
    """
    for i in np.nonzero((lr != hr).sum(1) > HASH_RADIUS)[0].tolist():
        distances = hash_distances(lr[i : i + 1], hr)[0]
        nearest = int(distances.argmin())
        if distances[nearest] <= HASH_RADIUS and is_same(i, nearest):
            yield i, nearest


def refuse_mismatched(hr: ImageSource, lr: ImageSource) -> None:
    """Refuses mismatched pairs of two stores, using hashes kept next to them, so that later starts cost nothing.

    Raises:
        UserError: LR images show a different HR image than the one of their name; it names them.
    """

    def is_same(i: int, j: int) -> bool:
        return is_same_image(thumbnail(lr[i]), thumbnail(hr[j]), 0)

    lr_bits, hr_bits = (stored_hashes(store, orientations=1).bits[:, 0] for store in (lr, hr))
    found = find_mismatched(lr_bits, hr_bits, is_same)
    lines = [f"{lr.paths[i]}: shows {hr.paths[j]}, but pairs with {hr.paths[i]}" for i, j in found]
    if lines:
        raise UserError(f"{listed(lines)}\nallowed: each LR image under the name of its own HR image")
