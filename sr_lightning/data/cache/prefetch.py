"""Threaded processing of many files in order, with a progress bar if it takes long."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_PATIENCE = 1.0  # seconds before a progress bar is shown


def prefetched(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Like `map`, but in threads; keeps the order, works ahead, and holds only a few results.

    Args:
        function: A slow function that releases the GIL, e.g. for decoding, hashing or reading.
        items: Its arguments.
    """
    workers = os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def with_progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Passes items on, and shows a progress bar on a terminal once this has taken longer than a second.

    Args:
        items: The items, passed on one by one.
        total: Number of items.
        what: Short description of the operation.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console()
    bar = Progress(*columns, console=console, expand=True, transient=True, disable=not console.is_terminal)
    task = bar.add_task(what, total=total)
    began, is_shown = time.monotonic(), False
    try:
        for item in items:
            yield item
            bar.advance(task)
            if not is_shown and time.monotonic() - began > _PATIENCE:
                bar.start()
                is_shown = True
    finally:
        bar.stop()
