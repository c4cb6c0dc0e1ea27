"""Keys that identify file contents, independent of names and dates."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import PIL

from sr_lightning.errors import UserError
from sr_lightning.text import listed

DECODER = "rgb8-3"  # part of every key: a decoder that reads differently must not reuse old stores


@dataclass(frozen=True)
class SourceFile:
    """A file whose content hash is known."""

    path: Path
    digest: str
    stamp: tuple[int, int, int]
    """Changes when the file is replaced or modified."""

    def check(self) -> None:
        """Raises UserError if the file has changed since it was hashed, as the samples would differ."""
        try:
            stamp = _stamp(self.path.stat())
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror}") from None
        if stamp != self.stamp:
            raise UserError(f"{self.path}: was changed while it was read; allowed: files that nobody writes to")


def identified(paths: Sequence[Path]) -> list[SourceFile]:
    """Hashes the files.

    Raises:
        UserError: Some files cannot be read; it names all of them.
    """

    def identify(path: Path) -> SourceFile | str:
        try:
            with path.open("rb") as file:  # one descriptor, so that the stamp belongs to the bytes read
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                return SourceFile(path, digest, _stamp(os.fstat(file.fileno())))
        except OSError as error:
            return f"cannot read {path}: {error.strerror}"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(identify, paths))
    if failed := [file for file in found if isinstance(file, str)]:
        raise UserError(listed(failed))
    return [file for file in found if isinstance(file, SourceFile)]


def key_of(parts: Sequence[str]) -> str:
    """Returns 32 hexadecimal digits that identify these texts in this order."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def content_key(paths: Sequence[Path]) -> str:
    """Returns a key that identifies the contents of these files, in this order, and the decoder that reads them.

    Raises:
        UserError: Some files cannot be read; it names all of them.
    """
    return key_of([DECODER, PIL.__version__, *(file.digest for file in identified(paths))])


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
