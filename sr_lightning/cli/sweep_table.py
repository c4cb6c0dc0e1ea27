"""Results table of a sweep, best job of each scale first: the overrides that differ between jobs, and their metrics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sr_lightning.text import Table, counted, shell_lines, short_keys, shown, single_line, spreadsheet_cell

OUTPUT = "output.log"
"""File with the output of a job that ran concurrently with others, in the job's folder."""
_BRIEF = 12  # length up to which values are kept whole, like metrics
_DONE = ("done", "done before")


@dataclass
class SweepJob:
    """One job of a sweep and its progress."""

    number: int
    folder: str
    """Path relative to the sweep folder."""
    overrides: list[str]
    status: str = "waiting"
    """`waiting`, `running`, `done`, `done before`, `failed`, `interrupted`, `killed` or `not run`."""
    objective: float | None = None
    minutes: float | None = None
    rows: list[tuple[str, int, float | None, float | None]] = field(default_factory=list)
    """Set, scale, PSNR on Y (None if infinite) and SSIM on Y of the final test."""
    error: str | None = None
    is_input_wrong: bool = False
    """Whether the job failed because of wrong user input."""

    @property
    def is_done(self) -> bool:
        """Whether the job was finished, now or by an earlier call."""
        return self.status in _DONE

    @property
    def values(self) -> dict[str, str]:
        """Key -> value as typed."""
        split = (override.lstrip("+~").partition("=") for override in self.overrides)
        return {key: value.strip("'\"") for key, _, value in split}

    @property
    def scales(self) -> tuple[int, ...]:
        """The scales of the final test, or those typed; empty if neither is known."""
        typed = self.values.get("scale", "")
        return tuple(sorted({scale for _, scale, *_ in self.rows} or set(map(int, re.findall(r"\d+", typed)))))


def ranked(jobs: Sequence[SweepJob]) -> list[SweepJob]:
    """Returns the jobs sorted by scale, then by objective, largest first; those without one are last.

    Gains at different scales cannot be compared: at a larger one, everything is harder for bicubic too.
    """
    done = sorted(
        (job for job in jobs if job.objective is not None), key=lambda j: (j.scales, -(j.objective or 0.0), j.number)
    )
    return [*done, *sorted((job for job in jobs if job.objective is None), key=lambda job: job.number)]


def best_of_scales(jobs: Sequence[SweepJob]) -> dict[str, SweepJob]:
    """Maps each scale, as in `x4` or `x2+x3`, to its job with the largest objective."""
    found: dict[str, SweepJob] = {}
    for job in ranked(jobs):
        if job.objective is not None:
            found.setdefault("+".join(f"x{scale}" for scale in job.scales), job)
    return found


def print_sweep(folder: Path, jobs: Sequence[SweepJob], objective: str, name: str) -> None:
    """Prints the table, a line per failed job, the location of the files, and what to do next.

    Args:
        folder: The sweep folder.
        jobs: The jobs, as `ranked` returns them.
        objective: Heading of the objective column.
        name: The command, whose log is in each job's folder.
    """
    figures = "; PSNR-Y (dB) / SSIM-Y of each test set" if any(job.rows for job in jobs) else ""
    order = f"of each scale the largest {objective}" if len(best_of_scales(jobs)) > 1 else f"the largest {objective}"
    print(f"\n{counted(len(jobs), 'job')}, {order} first{figures}")
    sweep_table(jobs, objective).show()
    for job in sorted(jobs, key=lambda job: job.number):
        if job.error is not None:
            logs = [folder / job.folder / log for log in (OUTPUT, f"{name}.log")]
            where = next((f"   ({shown(log)})" for log in logs if log.is_file()), "")
            print(single_line(f"job {job.number} {job.status}: {job.error}{where}"))
    print(f"\nsweep folder  {single_line(shown(folder))}")
    print("figures       sweep.csv, sweep.json, sweep.log in it")
    if sum(job.is_done for job in jobs) > 1:
        print("compare")
        print("\n".join(shell_lines(f"python -m sr_lightning.compare runs={single_line(shown(folder))}")))
    if not all(job.is_done for job in jobs):
        print(f"the same command with hydra.sweep.dir={single_line(shown(folder))} runs only what is not done")


def sweep_table(jobs: Sequence[SweepJob], objective: str) -> Table:
    """Returns the table for a terminal.

    Args:
        jobs: The jobs, as `ranked` returns them.
        objective: Heading of the objective column.
    """
    keys, sets = differing_keys(jobs), _sets(jobs)
    heads, gain = short_keys(keys), objective.removeprefix("val/")
    brief = [
        head for head, key in zip(heads, keys, strict=True) if all(len(j.values.get(key, "")) <= _BRIEF for j in jobs)
    ]
    table = Table(["job", *heads, gain, *sets, "min", "status"], ["job", *brief, gain, *sets, "min"])
    best = {job.number: f"best at {scale}" for scale, job in best_of_scales(jobs).items()}
    best = best if len(best) > 1 else dict.fromkeys(best, "best")
    for job in jobs:
        values = job.values
        mark = best.get(job.number)
        table.add(
            str(job.number),
            *(single_line(values.get(key, "")) for key in keys),
            "" if job.objective is None else f"{job.objective:+.3f}",
            *(_figure(job, entries) for entries in sets.values()),
            "" if job.minutes is None else f"{job.minutes:.1f}",
            (mark if job.status == "done" else f"{job.status}, {mark}") if mark else job.status,
            style="bold" if mark else "",
        )
    return table


def csv_rows(jobs: Sequence[SweepJob], objective: str) -> tuple[list[str], list[list[object]]]:
    """Returns headings and rows of the table for a spreadsheet, in full precision.

    Args:
        jobs: The jobs, as `ranked` returns them.
        objective: Heading of the objective column.
    """
    keys = differing_keys(jobs)
    sets = list(dict.fromkeys((name, scale) for job in jobs for name, scale, *_ in job.rows))
    heads = ["job", *keys, objective]
    heads += [f"{name} x{scale} {metric}" for name, scale in sets for metric in ("psnr_y", "ssim_y")]
    heads += ["minutes", "status", "error", "folder"]
    rows: list[list[object]] = []
    for job in jobs:
        values = job.values
        figures = {(name, scale): measured for name, scale, *measured in job.rows}
        found = [value for entry in sets for value in figures.get(entry, [None, None])]
        row = [job.number, *(values.get(key, "") for key in keys), job.objective, *found]
        row += [job.minutes, job.status, job.error, job.folder]
        rows.append([cell if _is_number(cell) else spreadsheet_cell(cell) for cell in row])
    return [str(spreadsheet_cell(head)) for head in heads], rows


def differing_keys(jobs: Sequence[SweepJob]) -> list[str]:
    """Returns the keys whose values, as typed, differ between jobs, in command-line order."""
    values = [job.values for job in jobs]
    keys = dict.fromkeys(key for job in values for key in job)
    return [key for key in keys if len({job.get(key) for job in values}) > 1]


def _is_number(cell: object) -> bool:
    """Whether a cell is a number, or text of one such as `-0.5`, which a spreadsheet does not execute as a formula."""
    try:
        float(str(cell))
    except ValueError:
        return False
    return True


def _sets(jobs: Sequence[SweepJob]) -> dict[str, list[tuple[str, int]]]:
    """Maps column headings to their sets and scales; a set has one column unless a job tests it at several scales."""
    found: dict[str, list[tuple[str, int]]] = {}
    repeated = {name for job in jobs for name, *_ in job.rows if [row[0] for row in job.rows].count(name) > 1}
    for job in jobs:
        for name, scale, *_ in job.rows:
            entries = found.setdefault(single_line(f"{name} x{scale}" if name in repeated else name), [])
            if (name, scale) not in entries:
                entries.append((name, scale))
    return found


def _figure(job: SweepJob, entries: Sequence[tuple[str, int]]) -> str:
    """Formats PSNR and SSIM of the job's row among these entries, as in `28.66/.8444`."""
    for name, scale, psnr, ssim in job.rows:
        if (name, scale) in entries:
            shown_ssim = "-" if ssim is None else f"{ssim:.4f}".removeprefix("0")
            return f"{'inf' if psnr is None else f'{psnr:.2f}'}/{shown_ssim}"
    return ""
