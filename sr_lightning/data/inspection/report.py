"""What a check of pictures is asked, and what it answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Role = Literal["train", "val", "test", "folder"]
Kind = Literal["files", "unreadable", "too small", "pairs", "duplicate", "leakage", "benchmark"]


@dataclass(frozen=True)
class SetSpec:
    """One folder to look at."""

    role: Role
    name: str
    folder: str
    key: str
    """Its config key, for the messages."""
    lr: str | None = None
    """Folder of ready-made LR pictures; may hold `{scale}`."""
    files: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Finding:
    """Something about one file, or about several together."""

    kind: Kind
    set: str
    files: tuple[str, ...]
    message: str
    is_wrong: bool = True
    """False: worth knowing, but nothing to mend."""


@dataclass
class SetSummary:
    """What a set is."""

    name: str
    role: Role
    pictures: int
    readable: int
    smallest: str
    largest: str
    modes: dict[str, int]


@dataclass
class Report:
    """What was found."""

    pictures: int = 0
    """Files that were decoded, each once."""
    seconds: float = 0.0
    sets: list[SetSummary] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def wrong(self) -> list[Finding]:
        """The findings that ask for something to be done."""
        return [finding for finding in self.findings if finding.is_wrong]

    def as_json(self) -> dict[str, Any]:
        """Plain data: everything, each file by name."""
        return {"ok": not self.wrong, **asdict(self)}
