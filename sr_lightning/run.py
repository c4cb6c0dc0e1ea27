"""What a command's function is told about its run, and how it says that a signal ended it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sr_lightning.resume import Resume


class InterruptedRun(BaseException):
    """A signal stopped the run after it saved its state; passes through Hydra, which catches Exception only."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_status = 128 + signal_number


@dataclass(frozen=True)
class Run:
    """Where a run lies and how it was asked for."""

    folder: Path
    command: str
    group: str | None = None
    """Name that a sweep's jobs share."""
    resume: Resume | None = None
