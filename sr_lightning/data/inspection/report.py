"""Input and result of a data check: the sets to inspect, the findings and their JSON form."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Role = Literal["train", "val", "test", "folder"]
Kind = Literal["files", "unreadable", "too small", "pairs", "duplicate", "leakage", "benchmark"]


@dataclass(frozen=True)
class SetSpec:
    """One folder to inspect."""

    role: Role
    name: str
    folder: str
    key: str
    """Config key, for messages."""
    lr: str | None = None
    """Folder of ready-made LR images; may contain `{scale}`."""
    files: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Finding:
    """A problem with one file, or with several together."""

    kind: Kind
    set: str
    files: tuple[str, ...]
    message: str
    is_wrong: bool = True
    """False: worth knowing, but not an error."""


@dataclass
class SetSummary:
    """Number, sizes and modes of a set's images."""

    name: str
    role: Role
    pictures: int
    readable: int
    smallest: str
    largest: str
    modes: dict[str, int]


@dataclass
class Report:
    """Result of a check."""

    pictures: int = 0
    """Number of distinct files that were decoded."""
    seconds: float = 0.0
    sets: list[SetSummary] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def wrong(self) -> list[Finding]:
        """The findings that have to be fixed."""
        return [finding for finding in self.findings if finding.is_wrong]

    def as_json(self) -> dict[str, Any]:
        """Returns the whole report as plain data."""
        return {"ok": not self.wrong, **asdict(self)}
