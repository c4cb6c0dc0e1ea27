"""Time that a run has taken, over all its pieces."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl


class Elapsed(pl.Callback):
    """Counts the seconds of a run, those before an interruption included up to the checkpoint it resumes from.

    Args:
        started: When this piece of the run started, by `time.perf_counter`.
    """

    def __init__(self, *, started: float) -> None:
        self._started = started
        self._before = 0.0

    @property
    def seconds(self) -> float:
        """Since the run began, without the time between its pieces."""
        return self._before + time.perf_counter() - self._started

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Adds those of the pieces before."""
        self._before = state_dict["seconds"]
