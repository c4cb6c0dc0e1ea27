"""The run that a command works on: its folder, its command line, what it resumes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sr_lightning.runs.allowed_changes import ResumePolicy
from sr_lightning.runs.resume import Resume


@dataclass(frozen=True)
class Run:
    """A run.

    Args:
        folder: Its folder.
        command: The command line, for the records.
        group: Name that the jobs of a sweep share.
        resume: The run that is resumed; None for a new one.
    """

    folder: Path
    command: str
    group: str | None = None
    resume: Resume | None = None

    @property
    def policy(self) -> ResumePolicy:
        """The state of the checkpoint that gives way to the config."""
        return self.resume.policy if self.resume else ResumePolicy()

    def to_plain(self) -> dict[str, Any]:
        """Plain data from which another process restores this with `from_plain`."""
        return {
            "folder": str(self.folder),
            "command": self.command,
            "group": self.group,
            "resume": self.resume and self.resume.to_plain(),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Run:
        """The counterpart of `to_plain`."""
        resume = plain["resume"] and Resume.from_plain(plain["resume"])
        return cls(Path(plain["folder"]), plain["command"], plain["group"], resume)
