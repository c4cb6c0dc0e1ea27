"""SIGTERM ends a command as Ctrl-C does: what is half done is cleared away."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sr_lightning.errors import InterruptedRun


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises `InterruptedRun` inside. Other threads than the main one get no signals: there nothing changes."""

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
