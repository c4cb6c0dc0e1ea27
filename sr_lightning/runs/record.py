"""Content of a run's folder, read as untrusted data: results, per-image figures, validations, config and state."""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]  # it ships no types

from sr_lightning.config.containers import flattened
from sr_lightning.errors import UserError
from sr_lightning.files import inside, take_lock
from sr_lightning.runs.lock import LOCK
from sr_lightning.runs.saved_config import load_plain_yaml, required_overrides
from sr_lightning.text import shown, single_line

Status = Literal["done", "running", "failed", "trained, not tested", "incomplete"]
_LARGEST = 64 * 2**20  # bytes; the results of Urban100 at three scales take 1 MB
_LARGEST_CONFIG = 2**20
_MOST_KEYS = 2000  # keys of a config; ours have some hundreds, and all pairs are compared
_LARGEST_NUMBER = 1e18  # multiply-adds of a very large image; sums of larger ones would overflow
_TAIL = 2**16  # bytes at the end of a log, where a failure is reported
_FAILURE = re.compile(r"failed: (.+)|^(\w*(?:Error|Exception)\b.*)", re.MULTILINE)
_LONGEST = 200  # maximum characters shown from a file


@dataclass
class RunRecord:
    """Content of a run's folder; missing, torn or unsafe parts are empty here and listed in `findings`."""

    folder: Path
    status: Status = "incomplete"
    reason: str = ""
    """Why the run failed, how far it got, or the command that finishes it."""
    config: dict[str, Any] = field(default_factory=dict)
    """Dotted key -> value as saved, with interpolations unresolved; lists are values."""
    results: dict[str, Any] = field(default_factory=dict)
    images: list[dict[str, str]] = field(default_factory=list)
    """Rows of `per_image.csv`."""
    metrics: list[dict[str, str]] = field(default_factory=list)
    """Rows of `metrics.csv`."""
    findings: list[str] = field(default_factory=list)

    @property
    def is_training(self) -> bool:
        """Whether the folder was made by `train` rather than `evaluate`."""
        return "trainer.max_steps" in self.config or "steps" in self.results or bool(self.metrics)


def read_run(folder: Path) -> RunRecord:
    """Reads an untrusted run folder: nothing in it is executed, and no link out of it is followed."""
    record = RunRecord(folder)
    record.config = _config(record)
    record.results = _results(record)
    record.images = _table(record, "per_image.csv") if record.results else []
    record.metrics = _table(record, "metrics.csv")
    record.status, record.reason = _status(record)
    return record


def as_number(value: Any) -> float | None:
    """Converts a value to a number of plausible size; None for anything else."""
    try:
        found = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return found if abs(found) <= _LARGEST_NUMBER else None


def _text(record: RunRecord, name: str, limit: int) -> str | None:
    """Reads a text file; None, with a finding, if it is too large, leads out of the folder or is not text."""
    path = record.folder / name
    if not path.exists() and not path.is_symlink():
        return None
    try:
        path = _regular(record.folder, name)
        if (size := path.stat().st_size) > limit:
            raise UserError(f"has {size} bytes, allowed: up to {limit}")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, UserError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        record.findings.append(f"{shown(record.folder)}/{name}: {text}")
        return None


def _results(record: RunRecord) -> dict[str, Any]:
    text = _text(record, "results.json", _LARGEST)
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        record.findings.append(f"{shown(record.folder)}/results.json: is torn: {str(error)[:_LONGEST]}")
        return {}
    rows = found.get("rows") if isinstance(found, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        record.findings.append(f"{shown(record.folder)}/results.json: holds no rows; allowed: what a run has written")
        return {}
    return found  # type: ignore[no-any-return]  # a mapping, as it has rows


def _table(record: RunRecord, name: str) -> list[dict[str, str]]:
    text = _text(record, name, _LARGEST)
    if text is None:
        return []
    try:
        reader = csv.DictReader(line for line in text.splitlines(keepends=True) if line.endswith("\n"))
        return [{k: v for k, v in row.items() if isinstance(k, str) and isinstance(v, str)} for row in reader]
    except csv.Error as error:
        record.findings.append(f"{shown(record.folder)}/{name}: {error}")
        return []


def _config(record: RunRecord) -> dict[str, Any]:
    name = ".hydra/config.yaml"
    if _text(record, name, _LARGEST_CONFIG) is None:
        return {}
    try:
        raw = OmegaConf.to_container(load_plain_yaml(record.folder / name), resolve=False)
    except (YAMLError, OSError, ValueError, RecursionError, OmegaConfBaseException) as error:
        record.findings.append(f"{shown(record.folder)}/{name}: {str(error).splitlines()[0][:_LONGEST]}")
        return {}
    found = flattened(raw) if isinstance(raw, dict) else {}
    if len(found) > _MOST_KEYS:
        record.findings.append(f"{shown(record.folder)}/{name}: has {len(found)} keys, allowed: up to {_MOST_KEYS}")
        return {}
    return found


def _status(record: RunRecord) -> tuple[Status, str]:
    if record.results:
        return "done", ""
    steps = [step for row in record.metrics if (step := as_number(row.get("step"))) is not None]
    most = as_number(record.config.get("trainer.max_steps"))
    reached = f"step {max(steps, default=0):.0f}" + ("" if most is None else f" of {most:.0f}")
    if _is_locked(record.folder):
        return "running", reached
    failure = _failure(record.folder)
    if failure:
        return "failed", failure
    if most is not None and max(steps, default=0) >= most > 0:
        return "trained, not tested", _resume_command(record)
    return "incomplete", reached if record.is_training else ""


def _resume_command(record: RunRecord) -> str:
    """Returns the command that resumes a run, with the classes that have to be named again."""
    given = [shlex.quote(f"ckpt_path={shown(record.folder)}"), *map(shlex.quote, required_overrides(record.config))]
    command = single_line(" ".join(["python -m sr_lightning.train", *given]))
    return command if len(command) <= _LONGEST else "ckpt_path=… tests it"


def _is_locked(folder: Path) -> bool:
    try:
        with _regular(folder, LOCK).open("rb") as file:
            return not take_lock(file.fileno())
    except (OSError, UserError):
        return False


def _failure(folder: Path) -> str:
    """Returns the last failure reported in a run's log; empty if there is none."""
    for name in ("train.log", "evaluate.log"):
        try:
            with _regular(folder, name).open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - _TAIL))
                found = _FAILURE.findall(file.read().decode("utf-8", "replace"))
        except (OSError, UserError):
            continue
        if found:
            return single_line("".join(found[-1]))[:_LONGEST]
    return ""


def _regular(folder: Path, name: str) -> Path:
    """Returns the path of a regular file in the folder; reading a pipe would never end."""
    path = inside(folder, name)
    if not path.is_file():
        raise UserError(f"{name} is no file")
    return path
