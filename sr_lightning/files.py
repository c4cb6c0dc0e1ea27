"""Atomic writes, checksums and locks of files."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, *, is_shared: bool = False) -> Iterator[Path]:
    """A part file beside `path`: renamed to it when the block ends well, removed when it does not.

    So a reader sees the whole file or none, whatever happens to the writer.

    Args:
        path: The final name.
        is_shared: Several processes may write the same content at once, each into a part file of its own.

    Yields:
        `<name>.part`, or `<name>.<process>.part` where the file is shared; on the same file system as `path`.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part" if is_shared else f"{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, text: str, *, is_shared: bool = False) -> None:
    """Writes UTF-8 text through `replacing`."""
    with replacing(path, is_shared=is_shared) as part:
        part.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """The file's SHA-256 checksum, 64 hexadecimal digits.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def take_lock(descriptor: int, *, waits: bool = False) -> bool:
    """Takes the exclusive lock of an open file. The kernel releases it when its holder ends, however that happens.

    Args:
        descriptor: Of the open file; processes that inherit it share the lock.
        waits: Wait for another holder to release it.

    Returns:
        Whether the lock is taken; False where another process holds it.

    Raises:
        OSError: The file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True
