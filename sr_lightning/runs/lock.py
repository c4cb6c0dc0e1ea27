"""Lock of a run's folder, which allows one run at a time."""

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
    """Holds a folder's lock while the block runs; creates the folder if it is missing.

    Args:
        folder: Folder of a run or a sweep.
        key: Config key that names the folder, for the messages.

    Raises:
        UserError: Another process holds the lock, or the folder is not writable.
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
    """Returns the file descriptors of this process's locks, to be shared with a process that it starts."""
    return sorted(_held)


def inherit_locks(descriptors: Iterable[int]) -> None:
    """Shares the locks of the parent process until this one ends."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        _held.add(descriptor)


def _close_in_fork() -> None:
    """Drops the locks in forked loader workers: they outlive a killed run for seconds, and would block the next one."""
    for lock in _held:
        os.close(lock)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_fork)
