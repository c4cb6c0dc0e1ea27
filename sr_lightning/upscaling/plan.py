"""What there is to do, from the images' headers and what lies in their outputs' places; all without torch."""

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
    """Each with the record of the output that is there already; None where there is none to compare."""
    large_enough: int = 0
    refused: dict[Task, str] = field(default_factory=dict)
    """Those that cannot be worked on, with the reason."""

    @property
    def count(self) -> int:
        """Of the images that are to be there in the end."""
        return len(self.wanted) + len(self.refused)


def make_plan(tasks: Sequence[Task], sizing: Sizing, *, overwrite: bool) -> Plan:
    """Looks at every image's header and at its output's place, before any work.

    Args:
        tasks: Inputs and outputs.
        sizing: The size that is asked for.
        overwrite: Files that this program has not made may be replaced.

    Raises:
        UserError: None of the images can be worked on.
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
    """Otherwise it may be enlarged.

    Raises:
        UserError: The file is no image or has several frames; or its output would be too large, for the network or the
            format.
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
    """The record of what lies in the output's place; None: nothing, or what may be replaced.

    Raises:
        UserError: Something else does: no file, a file of somebody else, or what was made from another image.
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
    """Tries, without leaving anything, whether a file can be written into the output's folder.

    Args:
        task: The image.
        known: Findings of folders that were tried before.

    Raises:
        UserError: It cannot.
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
