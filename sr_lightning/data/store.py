"""Pictures decoded once into one uint8 memory map, shared by all workers, runs and ranks.

Cutting a patch is then a copy of a few kilobytes instead of decoding a whole file. A store is keyed by the
content of its files, so a changed picture makes a new store and a renamed folder does not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sr_lightning.errors import UserError
from sr_lightning.image import read_rgb
from sr_lightning.resize import resize

log = logging.getLogger(__name__)

_DECODER = "rgb8-2"  # part of every key: a decoder that reads differently must not reuse old stores


@dataclass(frozen=True)
class Shrink:
    """Further copies of each picture, made smaller by MATLAB's bicubic."""

    factors: tuple[float, ...]
    """Between 0 and 1."""
    least: int
    """Copies with a shorter side below this many pixels are left out."""

    def copies(self, picture: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """The copies of one picture, (H, W, 3) each."""
        pixels = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))  # (3, H, W)
        for factor in self.factors:
            exact = Fraction(str(factor))  # 0.8 is meant as 4/5
            if min(picture.shape[:2]) * exact >= self.least:
                yield resize(pixels, exact).permute(1, 2, 0).numpy()


class PictureStore:
    """Read-only access to decoded pictures: `store[i]` is (H, W, 3) uint8.

    Args:
        paths: The picture files, in the order in which they are numbered.
        cache_dir: Where decoded stores are kept; created if needed.
        shrink: Copies that follow each picture.

    Attributes:
        paths: The file of each picture; a file with copies stands there several times.

    Raises:
        UserError: A file cannot be read as a picture, or the store cannot be written.
    """

    def __init__(self, paths: Sequence[Path], cache_dir: str | Path, *, shrink: Shrink | None = None) -> None:
        self.key = _content_key(paths, shrink)
        self._file = Path(cache_dir) / f"{self.key}.rgb8"
        index = self._file.with_suffix(".json")
        if not (index.is_file() and self._file.is_file()):
            _build(paths, self._file, index, shrink)
        entries = json.loads(index.read_text(encoding="utf-8"))
        self.paths = [paths[file] for _, _, _, file in entries]
        self.sizes: list[tuple[int, int]] = [(height, width) for _, height, width, _ in entries]
        """(H, W) of each picture."""
        self._offsets = [offset for offset, _, _, _ in entries]
        self._pixels: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def beside(self, suffix: str) -> Path:
        """A file for what else is worth keeping of these pictures; it goes by their content, as the store does."""
        return self._file.with_suffix(suffix)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        if self._pixels is None:
            # Opened by each process for itself; the pages are shared by the operating system. The plain
            # view spares np.memmap's bookkeeping on every slice.
            self._pixels = np.memmap(self._file, dtype=np.uint8, mode="r").view(np.ndarray)
        height, width = self.sizes[index]
        offset = self._offsets[index]
        return self._pixels[offset : offset + height * width * 3].reshape(height, width, 3)  # (H, W, 3)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pixels": None}


def _content_key(paths: Sequence[Path], shrink: Shrink | None) -> str:
    def digest(path: Path) -> str:
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = list(pool.map(digest, paths))
    made = [_DECODER] if shrink is None else [_DECODER, repr(shrink)]
    return hashlib.sha256("\n".join([*made, *digests]).encode()).hexdigest()[:32]


def _decoded(paths: Sequence[Path], shrink: Shrink | None) -> Iterator[list[NDArray[np.uint8]]]:
    """Each file's picture and its copies; decodes ahead with all cores, but holds only a few in memory."""

    def decode(path: Path) -> list[NDArray[np.uint8]]:
        picture = read_rgb(path)
        return [picture, *(shrink.copies(picture) if shrink else ())]

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[list[NDArray[np.uint8]]]] = deque()
        for path in paths:
            ahead.append(pool.submit(decode, path))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _build(paths: Sequence[Path], file: Path, index: Path, shrink: Shrink | None) -> None:
    """Writes beside the final names and renames: a reader sees a whole store or none."""
    log.info("decoding %d pictures once into %s", len(paths), file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix="part-") as folder:
            entries: list[tuple[int, int, int, int]] = []  # offset, height, width, number of the file
            pixels = Path(folder, file.name)
            with pixels.open("wb") as out:
                for number, pictures in enumerate(_decoded(paths, shrink)):
                    for picture in pictures:
                        entries.append((out.tell(), picture.shape[0], picture.shape[1], number))
                        out.write(np.ascontiguousarray(picture).data)
            listing = Path(folder, index.name)
            listing.write_text(json.dumps(entries), encoding="utf-8")
            os.replace(pixels, file)
            os.replace(listing, index)  # last: its presence says that the pixels are complete
    except OSError as error:
        raise UserError(f"paths.cache: cannot write decoded pictures to {file.parent}: {error.strerror}") from None
