"""The run of a command: its folder, its command line, what it resumes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sr_lightning.runs.allowed_changes import ResumePolicy
from sr_lightning.runs.resume import Resume


@dataclass(frozen=True)
class Run:
    """A run of a command.

    Args:
        folder: The run's folder.
        command: Command line, for the records.
        group: Name shared by the jobs of a sweep.
        resume: The run to be resumed; None for a new one.
    """

    folder: Path
    command: str
    group: str | None = None
    resume: Resume | None = None

    @property
    def policy(self) -> ResumePolicy:
        """Parts of the checkpoint's state that the config overrides."""
        return self.resume.policy if self.resume else ResumePolicy()

    def to_plain(self) -> dict[str, Any]:
        """Converts to plain data for `from_plain` in another process."""
        return {
            "folder": str(self.folder),
            "command": self.command,
            "group": self.group,
            "resume": self.resume and self.resume.to_plain(),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Run:
        """Reverses `to_plain`."""
        resume = plain["resume"] and Resume.from_plain(plain["resume"])
        return cls(Path(plain["folder"]), plain["command"], plain["group"], resume)
