"""Pace of a training: steps per second, and the time that is left, over a window that grows with the run."""

from __future__ import annotations

import time
from collections import deque
from datetime import timedelta

_SHORTEST = 60.0  # seconds; below that one pause of a busy machine would count for too much
_SPACING = 2.0  # seconds between two marks


class Pace:
    """Measures over the later half of what has passed: a pause cannot halve or double it, a change is followed.

    Validations and other pauses are part of the time, and so of what is left.

    Args:
        step: Where the run begins, or is resumed.
        now: The clock, in seconds; None: of this moment.
    """

    def __init__(self, step: int, now: float | None = None) -> None:
        self._began = time.monotonic() if now is None else now
        self._marks = deque([(self._began, step)])
        self._last = self._marks[0]

    def note(self, step: int, now: float | None = None) -> None:
        """Notes the step that has been reached."""
        now = time.monotonic() if now is None else now
        self._last = (now, step)
        if now - self._marks[-1][0] >= _SPACING:
            self._marks.append(self._last)
        window = max(_SHORTEST, self.elapsed / 2)
        while len(self._marks) > 1 and self._marks[1][0] <= now - window:
            self._marks.popleft()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._last[0] - self._began

    @property
    def rate(self) -> float:
        """Steps per second; 0 before the first."""
        (before, begun), (now, step) = self._marks[0], self._last
        return (step - begun) / (now - before) if now > before else 0.0

    def left(self, total: int) -> float | None:
        """Seconds until a step; None where nothing can be told."""
        return (total - self._last[1]) / self.rate if self.rate > 0 else None


def clock(seconds: float | None) -> str:
    """`4:05`, `1:04:05`, `2 days, 1:04:05`; `?` for None."""
    if seconds is None:
        return "?"
    text = str(timedelta(seconds=round(seconds)))
    return text.removeprefix("0:").removeprefix("0") if text.startswith("0:") else text
