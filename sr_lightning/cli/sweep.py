"""The jobs of a sweep: `sweep.json`, `sweep.csv` and `sweep.log` in its folder, up to date after every job.

A job may run in another process, or on another machine, than the command that started the sweep. So what is known of
the jobs lies in files, which each job's process brings up to date under a lock; a sweep that is killed leaves them.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sr_lightning.cli.sweep_table import SweepJob, csv_rows, differing_keys, ranked
from sr_lightning.config.compose import ComposedJob
from sr_lightning.errors import UserError
from sr_lightning.files import take_lock, write_atomically
from sr_lightning.runs.resume import Resume
from sr_lightning.runs.sweep_jobs import Finished
from sr_lightning.text import single_line

_LOCK = ".table.lock"
STOP = ".stop"
"""While this file lies in the sweep's folder, jobs that run beside each other stop, and no other begins."""


def this_process() -> str:
    """Its number, and the machine on which it is unique."""
    return f"{os.getpid()} on {socket.gethostname()}"


@dataclass
class Sweep:
    """The files of one sweep.

    Args:
        folder: The sweep's.
        command: The command line, as typed.
        objective: The number that the jobs are sorted by, as the table calls it; the largest is the best.
    """

    folder: Path
    command: str
    objective: str
    threads: str | None = field(default_factory=lambda: os.environ.get("OMP_NUM_THREADS"))
    """Of each job, where the user says so; joblib sets the variable in its own processes."""
    process: str = field(default_factory=this_process)
    """The process that has started the sweep."""

    def plan(self, jobs: Sequence[ComposedJob], earlier: dict[str, Resume | Finished]) -> None:
        """Writes down all jobs, with what an earlier call of the same sweep has finished.

        Args:
            jobs: In their order; of a sweep whose jobs are not known in advance only the first.
            earlier: Job number -> how far it came.
        """
        (self.folder / STOP).unlink(missing_ok=True)
        planned = []
        for number, job in enumerate(jobs):
            entry = SweepJob(number, job.subfolder, job.overrides)
            if isinstance(earlier.get(str(number)), Finished):
                entry.status = "done before"
                self._read_results(entry)
            planned.append(entry)
        with self._locked():
            self._write(planned)
            self._log(f"{len(planned)} jobs: {self.command}")

    def begin(self, number: int, subfolder: str, overrides: list[str]) -> None:
        """A job begins."""
        self._update(number, subfolder, overrides, status="running")

    def end(self, number: int, status: str, *, error: BaseException | None = None) -> SweepJob:
        """A job has ended.

        Args:
            number: The job's.
            status: `done`, `failed` or `interrupted`.
            error: Why it failed.
        """
        said = "; ".join(str(error).strip().splitlines()) if error is not None else None
        what = (said or type(error).__name__) if error is not None else None
        return self._update(number, status=status, error=what, is_input_wrong=isinstance(error, UserError))

    def close(self) -> list[SweepJob]:
        """No job runs any more: what still stands as running was killed. Returns the jobs, the best first."""
        with self._locked():
            jobs = self._read()
            for job in jobs:
                job.status = {"running": "killed", "waiting": "not run"}.get(job.status, job.status)
            self._write(jobs)
            self._log(f"ended: {sum(job.is_done for job in jobs)} of {len(jobs)} jobs are done")
        (self.folder / STOP).unlink(missing_ok=True)
        return ranked(jobs)

    def label(self, number: int) -> str:
        """What sets a job apart from the others: `scale=2 loss.beta=0.01`."""
        return _label(number, self._read())

    def count(self) -> int:
        """Number of jobs known so far."""
        return len(self._read())

    def _update(
        self, number: int, subfolder: str | None = None, overrides: list[str] | None = None, **changes: Any
    ) -> SweepJob:
        with self._locked():
            jobs = {job.number: job for job in self._read()}
            job = jobs.setdefault(number, SweepJob(number, subfolder or str(number), []))
            job.folder, job.overrides = subfolder or job.folder, overrides or job.overrides
            for key, value in changes.items():
                setattr(job, key, value)
            if job.status == "done":
                self._read_results(job)
            self._write([jobs[key] for key in sorted(jobs)])
            told = f"job {number} {job.status}" + (f": {job.error}" if job.error else "")
            self._log(f"{told}   [{_label(number, list(jobs.values()))}]")
        return job

    def _read_results(self, job: SweepJob) -> None:
        """The job's objective, time and figures, from its `results.json`."""
        try:
            found = json.loads((self.folder / job.folder / "results.json").read_text(encoding="utf-8"))
            rows = [row for row in found["rows"] if row["method"] != "bicubic"]
            methods = {(row["method"], row.get("checkpoint")) for row in rows}
            figures = [[row["set"], row["scale"], row["psnr_y"], row["ssim_y"]] for row in rows]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return
        job.objective, job.minutes = _number(found.get("objective")), _number(found.get("minutes"))
        if len(methods) == 1 and all(isinstance(name, str) and type(scale) is int for name, scale, *_ in figures):
            job.rows = [(name, scale, _number(psnr), _number(ssim)) for name, scale, psnr, ssim in figures]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time; on a file system without locks the last one to end writes the whole table again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with suppress(OSError):
                take_lock(descriptor, waits=True)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> list[SweepJob]:
        """The jobs that `_write` wrote, in their order."""
        try:
            found = json.loads((self.folder / "sweep.json").read_text(encoding="utf-8"))
            jobs = [SweepJob(**job | {"rows": [tuple(row) for row in job["rows"]]}) for job in found["jobs"]]
        except (OSError, ValueError, LookupError, TypeError):
            return []
        return sorted(jobs, key=lambda job: job.number)

    def _write(self, jobs: Sequence[SweepJob]) -> None:
        """Both tables, the best job first."""
        best_first = ranked(jobs)
        best = next((job.number for job in best_first if job.objective is not None), None)
        document = {"command": self.command, "objective": self.objective, "best": best}
        text = json.dumps(document | {"jobs": [asdict(job) for job in best_first]}, indent=1, ensure_ascii=True)
        write_atomically(self.folder / "sweep.json", text, is_shared=True)
        heads, rows = csv_rows(best_first, self.objective)
        table = io.StringIO(newline="")
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(heads)
        writer.writerows(rows)
        write_atomically(self.folder / "sweep.csv", table.getvalue(), is_shared=True)

    def _log(self, line: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with (self.folder / "sweep.log").open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"[{stamp}] {single_line(line)}\n")


def _label(number: int, jobs: Sequence[SweepJob]) -> str:
    keys = differing_keys(jobs) or list(jobs[0].values if jobs else ())
    values = next((job.values for job in jobs if job.number == number), {})
    return " ".join(f"{key}={values[key]}" for key in keys if key in values)


def _number(value: Any) -> float | None:
    """A finite number that was read from a file, or None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None
