"""What a section of `gpu_programme.py` finds, kept in a file as it comes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "benchmarks"))  # whose measurements the sections are made of


@dataclass
class Figure:
    """A row of the programme's table."""

    what: str
    value: float | str | None
    unit: str = ""
    beside: str = ""
    """Another figure of the same."""
    goal: str | None = None
    is_met: bool | None = None


@dataclass
class Findings:
    """What a section has found, kept in a file."""

    path: Path
    device: str
    is_small: bool
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def add(
        self, what: str, value: float | str | None, unit: str = "", *, beside: str = "", goal: str | None = None
    ) -> None:
        """A figure; `goal` is `>= 2` or `< 1`."""
        self.figures.append(Figure(what, value, unit, beside, goal, _is_met(value, goal)))
        self.write()

    def begin(self, what: str) -> None:
        """Notes what is done now, in case that it does not come to an end."""
        self.details["now"] = what
        self.write()

    def write(self) -> None:
        """Replaces the file."""
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({"figures": [asdict(one) for one in self.figures], "details": self.details}))
        part.replace(self.path)

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """A failure is a row, and the section goes on."""
        self.begin(what)
        try:
            yield
        except Exception as error:
            self.add(what, failure(error))

    def choose(self, full: Any, small: Any) -> Any:
        """By the programme's form."""
        return small if self.is_small else full


def failure(error: Exception) -> str:
    """What stands in place of a figure."""
    lines = str(error).strip().splitlines()
    return f"failed: {type(error).__name__}: {lines[0] if lines else ''}"[:300]


def _is_met(value: float | str | None, goal: str | None) -> bool | None:
    if goal is None or not isinstance(value, float | int):
        return None
    relation, _, limit = goal.partition(" ")
    return value >= float(limit) if relation == ">=" else value < float(limit)


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """One that is gone afterwards; decoded images are kept in it."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SR_CACHE"] = str(Path(folder, "cache"))
        yield Path(folder)
