"""Pictures decoded once into one uint8 memory map, shared by all workers, runs and ranks.

Cutting a patch is then a copy of a few kilobytes instead of decoding a whole file. A store is keyed by the
content of its files, so a changed picture makes a new store and a renamed folder does not. A store that is damaged
is made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from sr_lightning.data.bad_pictures import BadPicturesError, listed
from sr_lightning.decoding import BadPictureError, decode
from sr_lightning.errors import UserError
from sr_lightning.resize import resize

log = logging.getLogger(__name__)

_DECODER = "rgb8-3"  # part of every key: a decoder that reads differently must not reuse old stores


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
        lost: What of the files is not in the store -> how many files it is about.

    Raises:
        BadPicturesError: Files cannot be read as pictures; it names all of them.
        UserError: A file is not there or changes meanwhile, or the store cannot be written.
    """

    def __init__(self, paths: Sequence[Path], cache_dir: str | Path, *, shrink: Shrink | None = None) -> None:
        files = _identified(paths)
        self.key = _key([_DECODER, *([] if shrink is None else [repr(shrink)])], files)
        self._file = Path(cache_dir) / f"{self.key}.rgb8"
        index = self._file.with_suffix(".json")
        if (content := _complete(index, self._file)) is None:
            content = _build(files, self._file, index, shrink)
        entries: list[tuple[int, int, int, int]] = content["pictures"]
        self.lost: dict[str, int] = content["lost"]
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
            try:
                self._pixels = np.memmap(self._file, dtype=np.uint8, mode="r").view(np.ndarray)
            except OSError as error:
                raise UserError(f"paths.cache: cannot read {self._file}: {error.strerror}") from None
        height, width = self.sizes[index]
        offset = self._offsets[index]
        return self._pixels[offset : offset + height * width * 3].reshape(height, width, 3)  # (H, W, 3)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pixels": None}


@dataclass(frozen=True)
class _File:
    path: Path
    digest: str
    stamp: tuple[int, int, int]
    """Changes when the file is replaced or written to."""

    def check(self) -> None:
        """Raises UserError where it is no longer the file whose content is known: the store would hold another."""
        try:
            stamp = _stamp(self.path.stat())
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror}") from None
        if stamp != self.stamp:
            raise UserError(f"{self.path}: was changed while it was read; allowed: files that nobody writes to")


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _identified(paths: Sequence[Path]) -> list[_File]:
    """Hashes the files; names all that cannot be read."""

    def identify(path: Path) -> _File | str:
        try:
            with path.open("rb") as file:
                return _File(path, hashlib.file_digest(file, "sha256").hexdigest(), _stamp(os.fstat(file.fileno())))
        except OSError as error:
            return f"cannot read {path}: {error.strerror}"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(identify, paths))
    if failed := [file for file in found if isinstance(file, str)]:
        raise UserError(listed(failed))
    return [file for file in found if isinstance(file, _File)]


def _key(made: Sequence[str], files: Sequence[_File]) -> str:
    return hashlib.sha256("\n".join([*made, *(file.digest for file in files)]).encode()).hexdigest()[:32]


def content_key(paths: Sequence[Path]) -> str:
    """Stands for what these files hold, in this order, and for the decoder that reads them.

    Raises:
        UserError: Files cannot be read; it names all of them.
    """
    return _key([_DECODER, PIL.__version__], _identified(paths))


_Picture = tuple[list[NDArray[np.uint8]], tuple[str, ...]]


def _decoded(files: Sequence[_File], shrink: Shrink | None) -> Iterator[_Picture | BadPictureError]:
    """Each file's picture and its copies, and what is lost; decodes ahead with all cores, but holds only a few."""

    def decoded(file: _File) -> _Picture | BadPictureError:
        try:
            picture = decode(file.path)
        except BadPictureError as error:
            file.check()
            return error
        file.check()
        return [picture.rgb, *(shrink.copies(picture.rgb) if shrink else ())], picture.lost

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[_Picture | BadPictureError]] = deque()
        for file in files:
            ahead.append(pool.submit(decoded, file))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _build(files: Sequence[_File], file: Path, index: Path, shrink: Shrink | None) -> dict[str, Any]:
    """Writes beside the final names and renames: a reader sees a whole store or none. Returns the index."""
    log.info("decoding %d pictures once into %s", len(files), file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix="part-") as folder:
            pixels, listing = Path(folder, file.name), Path(folder, index.name)
            content = _write(files, pixels, shrink)
            listing.write_text(json.dumps(content), encoding="utf-8")
            os.replace(pixels, file)
            os.replace(listing, index)  # last: its presence says that the pixels are complete
    except OSError as error:
        raise UserError(f"paths.cache: cannot write decoded pictures to {file.parent}: {error.strerror}") from None
    return content


def _write(files: Sequence[_File], pixels: Path, shrink: Shrink | None) -> dict[str, Any]:
    entries: list[tuple[int, int, int, int]] = []  # offset, height, width, number of the file
    lost: Counter[str] = Counter()
    bad: dict[Path, str] = {}
    with pixels.open("wb") as out:
        for number, found in enumerate(_decoded(files, shrink)):
            if isinstance(found, BadPictureError):
                bad[files[number].path] = found.reason
            elif not bad:  # else only the others that are bad are still of interest
                pictures, gone = found
                lost.update(gone)
                for picture in pictures:
                    entries.append((out.tell(), picture.shape[0], picture.shape[1], number))
                    out.write(np.ascontiguousarray(picture).data)
    if bad:
        raise BadPicturesError(bad)
    return {"pictures": entries, "lost": lost, "bytes": pixels.stat().st_size}


def _complete(index: Path, file: Path) -> dict[str, Any] | None:
    """The index, if it is whole and the pixels are as many as it says."""
    try:
        content: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
        return content if file.stat().st_size == content["bytes"] else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
