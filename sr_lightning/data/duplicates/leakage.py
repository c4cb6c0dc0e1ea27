"""Warning about leakage: training images that are also used for validation or testing.

Fast enough for every start of a run, as hashes are kept next to the decoded stores (`stored_hashes`). Crops are found
only by `check_data`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sr_lightning.data.duplicates.fingerprint import HASH_RADIUS, ORIENTATIONS, hash_distances, thumbnail
from sr_lightning.data.duplicates.search import is_same_image
from sr_lightning.data.duplicates.stored_hashes import stored_hashes
from sr_lightning.data.images import Images, ImageSource
from sr_lightning.text import listed

log = logging.getLogger(__name__)

_SHOWN = 5
_BLOCK = 10_000  # training images compared at once: a sharded set may contain millions


def warn_about_leakage(train: Images, val: Sequence[Images], test: Sequence[Images]) -> None:
    """Logs a warning that names any training images also used for validation or testing."""
    leakage: dict[str, dict[Path, str]] = {}
    for images in [*test, *(images for images in val if images not in test)]:
        for i, j, how in _shared_images(train.hr, images.hr):
            path = train.hr.paths[i]  # named once, even if downscaled copies of it follow
            other = images.hr.paths[j].name
            leakage.setdefault(images.name, {}).setdefault(
                path, f"{path} ({how})" if path.name == other else f"{path} is {other} ({how})"
            )
    for name, found in leakage.items():
        lines = list(found.values())
        log.warning(
            "%s holds %d of the training images, so its figures will be better than they should be "
            "(data.exclude_files leaves images of folders out):\n%s",
            name,
            len(lines),
            listed(lines, most=_SHOWN, indent="  "),
        )


def _shared_images(train: ImageSource, tested: ImageSource) -> Iterator[tuple[int, int, str]]:
    """Yields pairs of equal training image i and evaluation image j, and how they differ."""
    ours, theirs = stored_hashes(train, orientations=1), stored_hashes(tested, orientations=8)
    tested_by_pixels = {digest: j for j, digest in enumerate(theirs.pixels)}
    for i, digest in enumerate(ours.pixels):
        if i % _BLOCK == 0:
            block = ours.bits[i : i + _BLOCK, 0]
            distances = np.stack([hash_distances(block, theirs.bits[:, turn]) for turn in range(8)], axis=-1)
        if digest in tested_by_pixels:
            yield i, tested_by_pixels[digest], "the same pixels"
            continue
        near = distances[i % _BLOCK]
        for j in np.nonzero(near.min(-1) <= HASH_RADIUS)[0].tolist():
            orientation = int(near[j].argmin())
            if is_same_image(thumbnail(train[i]), thumbnail(tested[j]), orientation):
                how = "resized" if sorted(train.sizes[i]) != sorted(tested.sizes[j]) else "re-encoded"
                yield i, j, ", ".join(part for part in (ORIENTATIONS[orientation], how) if part)
