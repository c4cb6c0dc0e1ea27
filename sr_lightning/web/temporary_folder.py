"""Temporary folder that is removed with its process or, after SIGKILL, when the next one starts."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sr_lightning.files import take_lock

_LOCK = ".lock"


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Creates a folder that only this user can read; removes folders of the same prefix whose process was killed.

    Args:
        prefix: Prefix of the folder's name.
    """
    _remove_abandoned(prefix)
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        lock = os.open(folder / f"{_LOCK}.new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            take_lock(lock)
            (folder / f"{_LOCK}.new").rename(folder / _LOCK)  # this name is locked while the process lives
            yield folder
        finally:
            os.close(lock)


def _remove_abandoned(prefix: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):  # another process removes it as well, or the file system has no locks: then it stays
            if _is_own_folder(folder) and _is_abandoned(folder / _LOCK):
                shutil.rmtree(folder, ignore_errors=True)


def _is_own_folder(path: Path) -> bool:
    """Returns whether the path is a real folder of this user, since the temporary directory is shared by all users."""
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _is_abandoned(lock: Path) -> bool:
    descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
    try:
        return take_lock(descriptor)
    finally:
        os.close(descriptor)
