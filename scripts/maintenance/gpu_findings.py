"""Results of a section of `gpu_programme.py`, written to a file as they come in."""

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
sys.path.insert(0, str(ROOT / "scripts" / "benchmarks"))  # for the measurements used by the sections


@dataclass
class Figure:
    """A row of the programme's table."""

    what: str
    value: float | str | None
    unit: str = ""
    beside: str = ""
    """A related measurement to show with the value."""
    goal: str | None = None
    is_met: bool | None = None


@dataclass
class Findings:
    """Results of a section, kept in a file."""

    path: Path
    device: str
    is_small: bool
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def add(
        self, what: str, value: float | str | None, unit: str = "", *, beside: str = "", goal: str | None = None
    ) -> None:
        """Adds a measurement; `goal` is of the form `>= 2` or `< 1`."""
        self.figures.append(Figure(what, value, unit, beside, goal, _is_met(value, goal)))
        self.write()

    def begin(self, what: str) -> None:
        """Records the current activity, in case it does not finish."""
        self.details["now"] = what
        self.write()

    def write(self) -> None:
        """Replaces the file."""
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({"figures": [asdict(one) for one in self.figures], "details": self.details}))
        part.replace(self.path)

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Turns a failure in the block into a row, so that the section goes on."""
        self.begin(what)
        try:
            yield
        except Exception as error:
            self.add(what, failure(error))

    def choose(self, full: Any, small: Any) -> Any:
        """Returns the value for the full or the small form of the programme."""
        return small if self.is_small else full


def failure(error: Exception) -> str:
    """Returns the text shown instead of a measurement."""
    lines = str(error).strip().splitlines()
    return f"failed: {type(error).__name__}: {lines[0] if lines else ''}"[:300]


def _is_met(value: float | str | None, goal: str | None) -> bool | None:
    if goal is None or not isinstance(value, float | int):
        return None
    relation, _, limit = goal.partition(" ")
    return value >= float(limit) if relation == ">=" else value < float(limit)


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """Provides a temporary folder, which also holds decoded images."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SR_CACHE"] = str(Path(folder, "cache"))
        yield Path(folder)
