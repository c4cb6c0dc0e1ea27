"""One running trial: an ordinary training run in its own process and folder, monitored from outside."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sr_lightning.checkpoints.integrity import BEST, read_trailer
from sr_lightning.config.tune import STORAGE
from sr_lightning.errors import UserError
from sr_lightning.runs.record import as_number
from sr_lightning.text import single_line

PROGRAM = (sys.executable, "-m", "sr_lightning.tuning.trial_process")
_OUTPUT = "output.log"
_GRACE = 120.0  # seconds in which a run has to save its state after being asked to stop
_COLUMNS = {"gain": "val/gain", "perceptual": "val/perceptual"}


@dataclass
class TrialRun:
    """A training run with the values of one trial.

    Args:
        folder: Folder of the run.
        arguments: Arguments of `train`.
        environment: Environment variables in addition to those of this process.
    """

    folder: Path
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    _asked_to_stop: float | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        variables = {key: value for key, value in os.environ.items() if key != STORAGE} | dict(self.environment)
        with (self.folder / _OUTPUT).open("ab") as output:
            # A separate session: a terminal's Ctrl-C reaches only the study, which then asks its trials to stop.
            self.process = subprocess.Popen(
                [*PROGRAM, str(os.getpid()), *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=variables,
                start_new_session=True,
            )

    @property
    def status(self) -> int | None:
        """Exit status; None while the process is running."""
        return self.process.poll()

    @property
    def minutes(self) -> float:
        """Minutes since the start."""
        return (time.monotonic() - self.started) / 60

    def stop(self) -> None:
        """Asks the run to save its state and end; call it repeatedly, as after a while it kills the process."""
        if self._asked_to_stop is None:
            self._asked_to_stop = time.monotonic()
            self.process.send_signal(signal.SIGTERM)
        elif time.monotonic() - self._asked_to_stop > _GRACE:
            self.process.kill()

    def failure(self) -> str:
        """Returns the reason of a failure, in one line."""
        if self.process.returncode < 0:
            name = signal.Signals(-self.process.returncode).name
            return f"ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        try:
            lines = (self.folder / _OUTPUT).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        lines = [line.strip() for line in lines if line.strip()]
        at = next((i for i, line in reversed([*enumerate(lines)]) if "sr_lightning.train: " in line), len(lines) - 1)
        told = lines[at:][:4] or [f"ended with status {self.process.returncode}"]
        return single_line(re.sub(r"^.*sr_lightning\.train: (the input is wrong; )?", "", "; ".join(told)))[:300]


def validations(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """Returns the validations of a run so far: step, and objective -> value if finite."""
    try:
        with (folder / "metrics.csv").open(newline="", encoding="utf-8", errors="replace") as file:
            rows = list(csv.DictReader(line for line in file if line.endswith("\n")))
    except OSError:
        return []
    found = []
    for row in rows:
        values = {
            name: number for name, column in _COLUMNS.items() if (number := as_number(row.get(column))) is not None
        }
        if "gain" in values and (row.get("step") or "").isdigit():
            found.append((int(row["step"]), values))
    return found


def results(folder: Path) -> dict[str, float] | None:
    """Returns the objectives of a finished run and its `minutes`; None if it is not finished."""
    try:
        document: Any = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        own = next(row for row in document["rows"] if row["method"] != "bicubic")
        found = {"gain": as_number(document["objective"]), "parameters": as_number(own.get("params"))}
        found["minutes"] = as_number(document.get("minutes"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return None
    measured = {step: values for step, values in validations(folder) if "perceptual" in values}
    if (kept := _kept_step(folder)) in measured:
        found["perceptual"] = measured[kept]["perceptual"]
    return {name: value for name, value in found.items() if value is not None}


def _kept_step(folder: Path) -> int | None:
    """Returns the step of a run's best weights; None if they are missing or damaged."""
    try:
        trailer = read_trailer(folder / "checkpoints" / BEST)
    except (UserError, OSError):
        return None
    return trailer.step if trailer else None
