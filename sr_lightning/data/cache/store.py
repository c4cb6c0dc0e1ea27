"""Images decoded once into one uint8 memory map, shared by all workers, runs and ranks.

Cropping a patch then copies a few kilobytes instead of decoding a whole file. A store is keyed by the content of its
files, so a changed image gives a new store, but a renamed folder does not. A damaged store is rebuilt. If a store would
exceed its limit, each process decodes images on demand: the same pixels under the same key, so a run may be resumed
either way.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr_lightning.data.cache.builder import Content, prepare, with_copies
from sr_lightning.data.cache.builder import Shrink as Shrink
from sr_lightning.data.cache.content_key import DECODER, SourceFile, identified, key_of
from sr_lightning.data.images import Grouping
from sr_lightning.errors import FailedError, UserError

_KEPT_BYTES = 2**28  # of decoded images, in each process that decodes on demand


class MappedImages:
    """Images in one pixel file: `images[i]` is (H, W, 3) uint8, read-only.

    Args:
        file: The pixel file.
        content: Positions of the images in it.
    """

    def __init__(self, file: Path, content: Content) -> None:
        self.file = file
        self._places = [(offset, height, width) for offset, height, width, _ in content.images]
        self._pixels: NDArray[np.uint8] | None = None

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        if self._pixels is None:
            # Opened by each process separately; the operating system shares the pages. The plain view avoids
            # np.memmap's bookkeeping on every slice.
            try:
                self._pixels = np.memmap(self.file, dtype=np.uint8, mode="r").view(np.ndarray)
            except OSError as error:
                raise UserError(f"paths.cache: cannot read {self.file}: {error.strerror}") from None
        offset, height, width = self._places[index]
        return self._pixels[offset : offset + height * width * 3].reshape(height, width, 3)  # (H, W, 3)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pixels": None}


class ImageStore:
    """Read-only access to decoded images: `store[i]` is (H, W, 3) uint8.

    Args:
        paths: The image files, in the order of their numbers.
        cache_dir: Folder of decoded stores; created if needed.
        shrink: Copies that follow each image.
        limit: Maximum size of a store in bytes; sets that exceed it, or the free disk space, are decoded on demand.

    Attributes:
        paths: The file of each image; a file with copies is listed several times.
        lost: Description of information that decoding discards -> number of files concerned.
        is_stored: Whether the pixels are on disk; otherwise they are decoded on demand.

    Raises:
        BadImagesError: Some files cannot be read as images; it names all of them.
        UserError: A file is missing or changes while it is read, or the store cannot be written.
    """

    grouping: Grouping | None = None

    def __init__(
        self, paths: Sequence[Path], cache_dir: str | Path, *, shrink: Shrink | None = None, limit: int | None = None
    ) -> None:
        files = identified(paths)
        self.key = key_of([DECODER, *([] if shrink is None else [shrink.key]), *(file.digest for file in files)])
        self._file = Path(cache_dir) / f"{self.key}.rgb8"
        content = prepare(files, self._file, shrink, limit)
        self.lost = content.lost
        self.paths = [paths[file] for _, _, _, file in content.images]
        self.sizes: list[tuple[int, int]] = [(height, width) for _, height, width, _ in content.images]
        """(H, W) of each image."""
        self.is_stored = content.is_stored
        self._images: MappedImages | OnDemand = (
            MappedImages(self._file, content)
            if content.is_stored
            else OnDemand(files, [file for _, _, _, file in content.images], shrink)
        )

    def __len__(self) -> int:
        return len(self.paths)

    def derived_file(self, suffix: str) -> Path:
        """Returns the path of a file for data derived from these images; like the store, it is keyed by content."""
        return self._file.with_suffix(suffix)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self._images[index]


class OnDemand:
    """Decodes images on demand, and keeps the most recently used ones.

    Args:
        files: The image files.
        owners: File number of each image; a file's copies follow its image.
        shrink: The copies.
        kept_bytes: Maximum size of the pixels kept; at least the last file's are.
    """

    def __init__(
        self,
        files: Sequence[SourceFile],
        owners: Sequence[int],
        shrink: Shrink | None,
        *,
        kept_bytes: int = _KEPT_BYTES,
    ) -> None:
        self.files = list(files)
        self.owners = list(owners)
        self.shrink = shrink
        self.kept_bytes = kept_bytes
        self._first = {owner: index for index, owner in reversed(list(enumerate(owners)))}
        self._kept: OrderedDict[int, list[NDArray[np.uint8]]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        owner = self.owners[index]
        with self._lock:
            if (images := self._kept.get(owner)) is not None:
                self._kept.move_to_end(owner)
        if images is None:
            try:
                images, _ = with_copies(self.files[owner], self.shrink)
            except UserError as error:  # it was intact at the start, so the run's state is worth saving
                raise FailedError(f"data: {error}; put back what was there at the start") from None
            for image in images:
                image.setflags(write=False)  # as those of the store
            self._keep(owner, images)
        return images[index - self._first[owner]]

    def _keep(self, owner: int, images: list[NDArray[np.uint8]]) -> None:
        with self._lock:
            if owner in self._kept:
                return
            self._kept[owner] = images
            self._bytes += sum(image.nbytes for image in images)
            while self._bytes > self.kept_bytes and len(self._kept) > 1:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= sum(image.nbytes for image in gone)

    def __reduce__(self) -> tuple[type[OnDemand], tuple[Any, ...]]:
        return OnDemand, (self.files, self.owners, self.shrink)
