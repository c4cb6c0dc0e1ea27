"""Atomic writes, checksums, locks, folders, and validation of file names and numbers from untrusted files."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from sr_lightning.errors import UserError
from sr_lightning.text import single_line

_MAX_PART = 255
"""Maximum bytes of a path component on common file systems."""


class UnsafeNameError(UserError):
    """A name from an untrusted file would escape its folder, or is not a valid name."""


@contextmanager
def replacing(path: Path, *, is_shared: bool = False) -> Iterator[Path]:
    """Yields a part file beside `path`, which is renamed to it if the block succeeds, and removed otherwise.

    A reader thus sees either the complete file or none, whatever happens to the writer.

    Args:
        path: The final name.
        is_shared: Several processes may write the same content at once, each to its own part file.

    Yields:
        `<name>.part`, or `<name>.<process>.part` if the file is shared; on the same file system as `path`.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part" if is_shared else f"{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_alone(path: Path) -> Iterator[Path]:
    """Like `replacing`, for a file that several processes may be told to write: the part file is locked.

    Raises:
        UserError: Another process, or another thread of this one, is writing the file.
    """
    descriptor = os.open(path.with_name(f"{path.name}.part"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _is_lock_taken(descriptor):
            raise UserError(f"{path}: is being written by another process")
        with replacing(path) as part:
            yield part
    finally:
        os.close(descriptor)


def _is_lock_taken(descriptor: int) -> bool:
    try:
        return take_lock(descriptor)
    except OSError:
        return True  # a file system without locks


def write_atomically(path: Path, text: str, *, is_shared: bool = False) -> None:
    """Writes UTF-8 text through `replacing`."""
    with replacing(path, is_shared=is_shared) as part:
        part.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """Returns the file's SHA-256 checksum as 64 hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def take_lock(descriptor: int, *, waits: bool = False) -> bool:
    """Takes the exclusive lock of an open file. The kernel releases it when its holder ends, however that happens.

    Args:
        descriptor: Descriptor of the open file; processes that inherit it share the lock.
        waits: Whether to wait for another holder to release it.

    Returns:
        Whether the lock was taken; False if another process holds it.

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


def walk(folder: Path) -> Iterator[Path]:
    """Yields all visible regular files; a link to a folder already visited is not entered.

    Raises:
        UserError: A folder cannot be read.
    """
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        if (real := os.path.realpath(root)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith(".") and os.path.isfile(path := os.path.join(root, name)):
                yield Path(path)


def _refuse(error: OSError) -> None:
    raise UserError(f"cannot read {single_line(error.filename)}: {error.strerror}")


def inside(root: Path, name: object, pattern: str | None = None) -> Path:
    """Returns the path of an untrusted name below a folder.

    Every name read from a file (an index, archive, manifest, checkpoint, saved run) is converted to a path here and
    nowhere else.

    Args:
        root: The folder that the path must not leave.
        name: The name as read, of any type.
        pattern: Regular expression for the whole name; None: any relative path with `/`.

    Raises:
        UnsafeNameError: The name is not text, does not match, is absolute, contains `..`, a backslash, a colon or
            unprintable characters, is too long for a file system, or escapes the folder through a link.
    """
    if reason := _unsafe(name, pattern):
        raise UnsafeNameError(f"{ascii(name)[:80]} {reason}")
    path = root / str(name)
    if not _is_below(path, root):
        raise UnsafeNameError(f"{ascii(name)[:80]} is a link that leads out of {root}")
    return path


def outward_links(folder: Path) -> list[Path]:
    """Finds links below a folder to files outside it, since anything written to them would be written there.

    Links to folders are not included: the names written into those are chosen by us.
    """
    found = [Path(root, name) for root, _, names in os.walk(folder) for name in names]
    return sorted(path for path in found if path.is_symlink() and not _is_below(path, folder))


def _is_below(path: Path, root: Path) -> bool:
    return os.path.realpath(path).startswith(os.path.join(os.path.realpath(root), ""))


def _unsafe(name: object, pattern: str | None) -> str:
    if not isinstance(name, str):
        return "is no file name"
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or any(character in name for character in "\\:\0"):
        return "may lead out of its folder"
    if not name.isprintable():
        return "holds characters that cannot be printed"
    if any(len(os.fsencode(part)) > _MAX_PART for part in parts):
        return f"is longer than the {_MAX_PART} bytes that a file name may have"
    if pattern is not None and not re.fullmatch(pattern, name):
        return "is not a name that sr_lightning gives"
    return ""


def finite_number(value: Any) -> float | None:
    """Returns a value read from an untrusted file if it is a finite number, else None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return float(value) if is_number else None
