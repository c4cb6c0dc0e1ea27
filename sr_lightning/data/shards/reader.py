"""Training images read from shards on a local disk, or streamed from an object store.

Shards are memory-mapped, and patches are cropped from them as from the decoded store. Each image is drawn once per
pass, in an order that depends only on (seed, pass) and uses each shard only during one contiguous stretch
(`crops.Grouping`), so that a pass fetches each shard about once. Every rank takes its share of each batch, so every
machine reads every shard.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr_lightning.data.cache.content_key import key_of
from sr_lightning.data.duplicates.stored_hashes import read_hashes
from sr_lightning.data.images import Grouping, Images
from sr_lightning.data.requirements import OnSmall, large_enough
from sr_lightning.data.shards.index import HASHES, PackedIndex
from sr_lightning.data.shards.storage import ShardFiles
from sr_lightning.data.sources import TrainingSet
from sr_lightning.errors import TrainingFailedError, UserError
from sr_lightning.files import write_atomically

log = logging.getLogger(__name__)


class Shards:
    """A packed training set and its reading options.

    Args:
        folder: Output of `python -m sr_lightning.pack`: a local folder, or its address in an object store (`s3://…`,
            `gs://…`; `local:<folder>` is treated as one).
        cache_dir: Local cache of shards from an object store.
        max_cache_gb: Maximum size of the cache in 10^9 bytes.
        spread: Number of shards open at a time; more shards shuffle better, but need a larger cache.

    Raises:
        UserError: A value is out of range.
    """

    def __init__(
        self, *, folder: str, cache_dir: str = ".cache/shards", max_cache_gb: float = 50.0, spread: int = 16
    ) -> None:
        if spread < 1:
            raise UserError(f"data.shards.spread: found {spread}, allowed: 1 and more")
        self.folder = folder
        self.max_cache_gb = max_cache_gb
        self.spread = spread
        self.files = ShardFiles(folder, cache_dir, int(max_cache_gb * 1e9))

    def training(self, *, patch_size: int, scale: int, on_small: OnSmall) -> TrainingSet:
        """Returns the training images; files may have been left out when they were packed.

        Args:
            patch_size: Side length of the LR patch.
            scale: The largest scale factor.
            on_small: How to treat images smaller than the patch.

        Raises:
            UserError: The packed set is missing, the cache is too small for it, or images are too small.
        """
        index = self.files.index()
        largest = max(shard.bytes for shard in index.shards)
        needed = min(self.spread + 2, len(index.shards)) * largest
        if self.files.is_remote and self.files.cache.max_bytes < needed:
            raise UserError(
                f"data.shards.max_cache_gb: found {self.max_cache_gb:g}, but {self.spread} open shards of up to "
                f"{largest / 1e6:.0f} MB need {needed / 1e9:.2g}; allowed: that and more, or less of data.shards.spread"
            )
        for lost, count in index.lost.items():
            log.warning("train: %d of %d images have %s", count, len(index.names), lost)
        numbers = large_enough(index.names, index.sizes, patch_size=patch_size, scale=scale, on_small=on_small)
        images = Images("train", ShardedImages(index, self.files, self.spread, numbers))
        return TrainingSet(images, left_out=index.left_out)


class ShardedImages:
    """Read-only access to packed images: `images[i]` is (H, W, 3) uint8, a view of a mapped shard.

    Args:
        index: Contents of the set.
        files: Local paths of its files.
        spread: Number of shards open at a time.
        numbers: (N,) the images to use, in ascending order.
    """

    def __init__(self, index: PackedIndex, files: ShardFiles, spread: int, numbers: NDArray[np.int64]) -> None:
        counts = [shard.images for shard in index.shards]
        self.index = index
        self.shards = index.shards
        self.files = files
        is_whole = len(numbers) == len(index.names)
        parts = [index.key, f"spread {spread}"]
        self.key = key_of(parts if is_whole else [*parts, hashlib.sha256(numbers.tobytes()).hexdigest()])
        self.sizes: list[tuple[int, int]] = [index.sizes[i] for i in numbers]
        """(H, W) of each image."""
        self.names = [index.names[i] for i in numbers]
        self.grouping: Grouping | None = Grouping(np.repeat(np.arange(len(counts)), counts)[numbers], spread)
        self._numbers = None if is_whole else numbers
        self._place = (np.arange(len(index.names)) - np.repeat(np.cumsum([0, *counts[:-1]]), counts))[numbers]
        self._open: OrderedDict[int, tuple[NDArray[np.uint8], NDArray[np.int64]]] = OrderedDict()

    @property
    def paths(self) -> list[Path]:
        """Path of each image relative to the packed folder."""
        return [Path(name) for name in self.names]

    def __len__(self) -> int:
        return len(self.names)

    def derived_file(self, suffix: str) -> Path:
        """Returns the path of the hashes packed with the images, or of a file in the cache for any other data."""
        part = self.files.cache_dir / f"{self.key}{suffix}"
        if not HASHES.endswith(suffix):
            return part
        packed = self.files.sidecar(HASHES)
        if self._numbers is None:
            return packed
        if not part.is_file():
            rows = read_hashes(packed, len(self.index.names), orientations=1)
            part.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(part, json.dumps([rows[i] for i in self._numbers]), is_shared=True)
        return part

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        assert self.grouping is not None
        pixels, ends = self._mapped(int(self.grouping.of[index]))
        height, width = self.sizes[index]
        end = int(ends[self._place[index]])
        return pixels[end - height * width * 3 : end].reshape(height, width, 3)  # (H, W, 3)

    def _mapped(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Returns a shard's bytes, and the end of each of its images."""
        if (opened := self._open.get(number)) is not None:
            self._open.move_to_end(number)
            return opened
        shard = self.shards[number]
        for _ in range(3):
            try:
                pixels = np.memmap(self.files.shard(shard), dtype=np.uint8, mode="r").view(np.ndarray)
            except FileNotFoundError:
                continue  # another process has just removed it to make room
            except OSError as error:
                raise TrainingFailedError(f"data.shards: cannot read {shard.name}: {error.strerror}") from None
            self._open[number] = opened = pixels, self.index.check_shard(number, pixels)
            assert self.grouping is not None
            while len(self._open) > self.grouping.spread + 2:
                self._open.popitem(last=False)
            return opened
        raise TrainingFailedError(
            f"data.shards.max_cache_gb: {shard.name} does not stay in the cache; allowed: a larger value"
        )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}
