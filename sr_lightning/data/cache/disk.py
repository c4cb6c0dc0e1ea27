"""Files that several processes may make at once: one of them does, the others wait; and how much room there is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
                fcntl.flock(held, fcntl.LOCK_EX)
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


def free_bytes(folder: Path) -> int:
    """Bytes that may be written into a folder, or into the one that it will lie in."""
    while not folder.exists():
        folder = folder.parent
    return int(shutil.disk_usage(folder).free * (1 - _KEPT_FREE))
