"""What a command's function is told about its run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sr_lightning.runs.resume import Resume


@dataclass(frozen=True)
class Run:
    """Where a run lies and how it was asked for."""

    folder: Path
    command: str
    group: str | None = None
    """Name that a sweep's jobs share."""
    resume: Resume | None = None
