"""Plan of a run, made from image headers and existing outputs, without torch."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sr_lightning.errors import UserError
from sr_lightning.image.encoder import check_size
from sr_lightning.image.source_image import source_size
from sr_lightning.text import listed, single_line
from sr_lightning.upscaling.history import is_same_source
from sr_lightning.upscaling.size import Sizing
from sr_lightning.upscaling.sources import Task, history


@dataclass
class Plan:
    """The images of a run."""

    sizing: Sizing
    wanted: dict[Task, str | None] = field(default_factory=dict)
    """Each task with the record of its existing output; None if there is no record to compare with."""
    large_enough: int = 0
    refused: dict[Task, str] = field(default_factory=dict)
    """Tasks that cannot be processed, with the reasons."""

    @property
    def count(self) -> int:
        """Number of outputs that should exist at the end."""
        return len(self.wanted) + len(self.refused)


def make_plan(tasks: Sequence[Task], sizing: Sizing, *, overwrite: bool) -> Plan:
    """Checks every image's header and output path before any work begins.

    Args:
        tasks: Input and output files.
        sizing: Requested size.
        overwrite: Whether files that were not made by this program may be replaced.

    Raises:
        UserError: None of the images can be processed.
    """
    plan = Plan(sizing)
    places: dict[Path, str | None] = {}
    for task in tasks:
        try:
            if _is_large_enough(task, sizing):
                plan.large_enough += 1
                continue
            found = _found(task, overwrite=overwrite)
            if found is None:
                _check_place(task, places)
        except UserError as error:
            plan.refused[task] = str(error)
        except OSError as error:
            plan.refused[task] = single_line(f"{task.source}: cannot be read: {error.strerror or error}")
        else:
            plan.wanted[task] = found
    if plan.refused and len(plan.refused) == len(tasks):
        raise UserError(listed(list(dict.fromkeys(plan.refused.values()))))
    return plan


def _is_large_enough(task: Task, sizing: Sizing) -> bool:
    """Returns whether the image is already large enough to be skipped.

    Raises:
        UserError: The file is not an image or has several frames, or its output would be too large for the network or
            the format.
    """
    size = source_size(task.source)
    if sizing.is_large_enough(*size):
        return True
    try:
        target = sizing.target(*size)
    except UserError as error:
        raise UserError(f"{single_line(task.source)}: {error}") from None
    if (finding := check_size(task.format, *target.size)) is not None:
        raise UserError(f"{single_line(task.source)}: {finding}")
    return False


def _found(task: Task, *, overwrite: bool) -> str | None:
    """Returns the record of an existing output; None if nothing is there or the file may be replaced.

    Raises:
        UserError: Something else is there: not a regular file, a file not made by this program, or an output of another
            image.
    """
    if not os.path.lexists(task.output):
        return None
    what = f"{single_line(task.source)}: {single_line(task.output)}"
    if os.path.exists(task.output) and not os.path.isfile(task.output):
        raise UserError(f"{what} is there, and no file; allowed: another output")
    found = history(task.output)
    if found is None and not overwrite:
        raise UserError(f"{what} is there, and was not made by upscale; allowed: another output, or overwrite=true")
    if found is not None and not overwrite and not is_same_source(found, task.source):
        raise UserError(f"{what} was made from another image; allowed: another output, or overwrite=true")
    return found


def _check_place(task: Task, known: dict[Path, str | None]) -> None:
    """Checks that a file can be written into the output's folder, without leaving anything behind.

    Args:
        task: The image.
        known: Results for folders that have already been checked.

    Raises:
        UserError: The folder cannot be written to.
    """
    folder = task.output.parent
    if folder not in known:
        known[folder] = _place_finding(folder)
    if (finding := known[folder]) is not None:
        raise UserError(finding)


def _place_finding(folder: Path) -> str | None:
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        return f"output: {single_line(there)} is no folder; allowed: another output"
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        return f"output: cannot write into {single_line(there)}: {error.strerror}; allowed: another output"
    return None
