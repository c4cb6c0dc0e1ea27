"""A temporary folder that is gone when its process is: at once, or, after SIGKILL, when the next one begins."""

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
    """A folder that only this user may read; those of the same prefix whose process was killed are removed.

    Args:
        prefix: Of its name.
    """
    _remove_abandoned(prefix)
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        lock = os.open(folder / f"{_LOCK}.new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            take_lock(lock)
            (folder / f"{_LOCK}.new").rename(folder / _LOCK)  # what has the name is held as long as its process lives
            yield folder
        finally:
            os.close(lock)


def _remove_abandoned(prefix: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):  # another removes it, too, or its file system has no locks: it stays
            if _is_own_folder(folder) and _is_abandoned(folder / _LOCK):
                shutil.rmtree(folder, ignore_errors=True)


def _is_own_folder(path: Path) -> bool:
    """The temporary folder is everybody's: no links, and nothing of another user's."""
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _is_abandoned(lock: Path) -> bool:
    descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
    try:
        return take_lock(descriptor)
    finally:
        os.close(descriptor)
