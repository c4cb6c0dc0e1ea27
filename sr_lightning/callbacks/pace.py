"""Training speed: steps per second and remaining time, over a window that grows with the run."""

from __future__ import annotations

import time
from collections import deque
from datetime import timedelta

_SHORTEST = 60.0  # seconds; with a shorter window, one pause of a busy machine would weigh too much
_SPACING = 2.0  # seconds between marks


class Pace:
    """Speed over the later half of the elapsed time: robust to single pauses, yet able to follow changes.

    Validations and other pauses count as elapsed time, and thus affect the remaining time.

    Args:
        step: Step at which the run starts or is resumed.
        now: Clock time in seconds; None for the current time.
    """

    def __init__(self, step: int, now: float | None = None) -> None:
        self._began = time.monotonic() if now is None else now
        self._marks = deque([(self._began, step)])
        self._last = self._marks[0]

    def note(self, step: int, now: float | None = None) -> None:
        """Records the current step."""
        now = time.monotonic() if now is None else now
        self._last = (now, step)
        if now - self._marks[-1][0] >= _SPACING:
            self._marks.append(self._last)
        window = max(_SHORTEST, self.elapsed / 2)
        while len(self._marks) > 1 and self._marks[1][0] <= now - window:
            self._marks.popleft()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._last[0] - self._began

    @property
    def rate(self) -> float:
        """Steps per second; 0 before the first step."""
        (before, begun), (now, step) = self._marks[0], self._last
        return (step - begun) / (now - before) if now > before else 0.0

    def left(self, total: int) -> float | None:
        """Returns the seconds until a step; None if unknown."""
        return (total - self._last[1]) / self.rate if self.rate > 0 else None


def clock(seconds: float | None) -> str:
    """Formats a duration: `4:05`, `1:04:05`, `2 days, 1:04:05`; `?` for None."""
    if seconds is None:
        return "?"
    text = str(timedelta(seconds=round(seconds)))
    return text.removeprefix("0:").removeprefix("0") if text.startswith("0:") else text
