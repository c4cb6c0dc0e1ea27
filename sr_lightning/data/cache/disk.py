"""Locks for cache files that several processes may want to write, and free disk space."""

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

_KEPT_FREE = 0.1  # of what is free: others write too


@contextmanager
def one_at_a_time(file: Path) -> Iterator[None]:
    """Waits until no other process makes this file; where the file system has no locks, it does not wait.

    The kernel gives the lock back however its holder ends. Its file is gone afterwards.

    Args:
        file: What is made; the lock lies beside it.

    Raises:
        OSError: Nothing can be written there.
    """
    lock = file.with_name(f"{file.name}.lock")
    while True:
        with os.fdopen(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666), "a") as held:
            with contextlib.suppress(OSError):
                take_lock(held.fileno(), waits=True)
            if not _is_same(held.fileno(), lock):
                continue  # its holder has taken the file away meanwhile: who comes now locks another one
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
    """Writes what only spares the next start some work; a cache that is full or read-only is no reason to end a run."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text, is_shared=True)
    except OSError as error:
        log.info("%s: cannot be written (%s); the next start works it out again", file, error.strerror)


def free_bytes(folder: Path) -> int:
    """Bytes that may be written into a folder, or into the one that it will lie in."""
    while not folder.exists():
        folder = folder.parent
    return int(shutil.disk_usage(folder).free * (1 - _KEPT_FREE))
