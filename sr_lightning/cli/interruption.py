"""Handling of SIGTERM like Ctrl-C, so that unfinished work is cleaned up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
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
