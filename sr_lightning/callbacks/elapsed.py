"""Total time of a run, across interruptions."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl


class Elapsed(pl.Callback):
    """Counts the seconds of a run, including those before an interruption up to the checkpoint it resumes from.

    Args:
        started: Start time of the current part of the run, from `time.perf_counter`.
    """

    def __init__(self, *, started: float) -> None:
        self._started = started
        self._before = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since the run began, without interruptions."""
        return self._before + time.perf_counter() - self._started

    def state_dict(self) -> dict[str, Any]:
        """Returns the seconds so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Adds the seconds of earlier parts."""
        self._before = state_dict["seconds"]
