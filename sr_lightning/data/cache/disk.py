"""Locks for cache files that several processes may write, and free disk space."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sr_lightning.files import take_lock, write_atomically

log = logging.getLogger(__name__)

_KEPT_FREE = 0.1  # share of the free space left unused, since others write too


@contextmanager
def one_at_a_time(file: Path) -> Iterator[None]:
    """Waits until no other process is building this file; does not wait if the file system has no locks.

    The kernel releases the lock however its holder ends. The lock file is removed afterwards.

    Args:
        file: The file to build; the lock is placed beside it.

    Raises:
        OSError: Nothing can be written there.
    """
    lock = file.with_name(f"{file.name}.lock")
    while True:
        with os.fdopen(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666), "a") as held:
            with contextlib.suppress(OSError):
                take_lock(held.fileno(), waits=True)
            if not _is_same(held.fileno(), lock):
                continue  # its holder has removed the file meanwhile, and newcomers lock another one
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def keep(file: Path, text: str) -> None:
    """Writes data that merely saves work at the next start; a full or read-only cache does not end the run."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text, is_shared=True)
    except OSError as error:
        log.info("%s: cannot be written (%s); the next start works it out again", file, error.strerror)


def free_bytes(folder: Path) -> int:
    """Returns the bytes that may be written to a folder, or to its nearest existing parent."""
    while not folder.exists():
        folder = folder.parent
    return int(shutil.disk_usage(folder).free * (1 - _KEPT_FREE))
