"""Handling of SIGTERM like Ctrl-C, so that unfinished work is cleaned up."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sr_lightning.errors import InterruptedRun


@contextmanager
def terminable() -> Iterator[None]:
    """Raises `InterruptedRun` in the block on SIGTERM; no effect outside the main thread, as others get no signals."""

    def stop(number: int, _: Any) -> None:
        raise InterruptedRun(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def begun_or_removed(remove: Callable[[], None]) -> Iterator[None]:
    """Lets a signal end a run that has no handlers of its own yet: while it imports, reads its images or evaluates.

    Args:
        remove: Removes the run's folder, unless it holds anything to go on from.
    """
    try:
        with terminable():
            yield
    except InterruptedRun as stopped:
        if not stopped.is_told:
            print("interrupted", file=sys.stderr, flush=True)
        remove()
        raise
    except KeyboardInterrupt:  # which `exit_status` reports
        remove()
        raise
