"""Lock of a run's folder: one run at a time."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sr_lightning.errors import UserError
from sr_lightning.files import take_lock

LOCK = ".lock"
_held: set[int] = set()


@contextmanager
def locked(folder: Path, key: str) -> Iterator[None]:
    """Holds a folder's lock for as long as the block runs; creates the folder where it is missing.

    Args:
        folder: The folder of a run or a sweep.
        key: The config key that names the folder, for the messages.

    Raises:
        UserError: Another process holds it, or nothing can be written into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(f"{key}: cannot write into {folder}: {error.strerror}; allowed: a folder of yours") from None
    _held.add(lock)
    try:
        _take(lock, folder, key)
        yield
    finally:
        _held.discard(lock)
        os.close(lock)


def _take(lock: int, folder: Path, key: str) -> None:
    try:
        is_free = take_lock(lock)
    except OSError as error:
        print(f"{folder}: its file system has no locks ({error.strerror}); start no second run there", flush=True)
        return
    if not is_free:
        holder = os.pread(lock, 200, 0).decode(errors="replace") or "unknown"
        raise UserError(
            f"{key}: {folder} is in use by another run ({holder}); allowed: another folder, or when that one has ended"
        )
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)


def held_locks() -> list[int]:
    """File descriptors of the locks of this process, for a process that it starts to share them."""
    return sorted(_held)


def inherit_locks(descriptors: Iterable[int]) -> None:
    """Shares the locks of the process that has started this one, until this one ends."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        _held.add(descriptor)


def _close_in_fork() -> None:
    """A loader's worker outlives a killed run for seconds; with its copy of the lock the next run would be refused."""
    for lock in _held:
        os.close(lock)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_fork)
