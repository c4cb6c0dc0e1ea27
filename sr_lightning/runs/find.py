"""Search for run folders: runs, sweeps, evaluations, globs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sr_lightning.errors import UserError
from sr_lightning.text import natural_key

_MARKS = ("results.json", "metrics.csv", ".hydra/config.yaml")
_DEEPEST = 3  # `runs` contains `sweep`, which contains sweeps, which contain jobs
_MOST = 500


def find_runs(patterns: Sequence[str]) -> list[Path]:
    """Returns the folders of all matching runs, each once.

    Args:
        patterns: Folders of runs, sweeps and evaluations, folders of these, or globs.

    Returns:
        In the order of the patterns, and within each in natural order (`2` before `10`).

    Raises:
        UserError: A pattern matches nothing or no runs, or there are too many; one message covers all patterns.
    """
    found: dict[str, Path] = {}
    findings = []
    for pattern in patterns:
        paths = [Path(pattern)] if os.path.exists(pattern) else sorted(map(Path, glob.glob(pattern)), key=_order)
        runs = [run for path in paths if path.is_dir() for run in _below(path, _DEEPEST)]
        if not runs:
            what = "holds no runs" if paths else "is not there"
            allowed = "the folder of a run, a sweep or an evaluation, a folder of these, or a glob"
            several = f"; several are a list, runs=[{pattern}]" if "," in pattern else ""
            findings.append(f"runs: {pattern} {what}; allowed: {allowed}{several}")
        for run in runs:
            found.setdefault(os.path.realpath(run), run)
    if len(found) > _MOST:
        findings.append(f"runs: found {len(found)} runs, allowed: up to {_MOST}")
    if findings:
        raise UserError("\n".join(findings))
    return list(found.values())


def is_run(folder: Path) -> bool:
    """Returns whether a folder contains a run of any command that creates one."""
    return any((folder / mark).is_file() for mark in _MARKS)


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """Yields the runs below a folder; symlinks inside it are not followed: they may lead anywhere, even in circles."""
    if is_run(folder):
        yield folder
    elif depth:
        try:
            inner = sorted((p for p in folder.iterdir() if p.is_dir() and not p.is_symlink()), key=_order)
        except OSError:
            return
        for path in inner:
            if not path.name.startswith("."):
                yield from _below(path, depth - 1)


def _order(path: Path) -> list[tuple[int, str]]:
    return natural_key(str(path))
