"""Records of a sweep's jobs: `sweep.json`, `sweep.csv` and `sweep.log` in its folder, updated after every job.

A job may run in a different process, or on a different machine, from the command that started the sweep. So the state
of the jobs is kept in files, which each job's process updates under a lock, and which survive a kill.
"""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sr_lightning.cli.sweep_table import SweepJob, best_of_scales, csv_rows, differing_keys, ranked
from sr_lightning.config.compose import ComposedJob
from sr_lightning.errors import UserError
from sr_lightning.files import finite_number, take_lock, write_atomically
from sr_lightning.runs.resume import Resume
from sr_lightning.runs.sweep_jobs import Finished
from sr_lightning.text import counted, single_line

_LOCK = ".table.lock"
STOP = ".stop"
"""While this file is in the sweep folder, jobs that run concurrently stop, and no further job starts."""


def this_process() -> str:
    """Returns the process ID with the host on which it is unique."""
    return f"{os.getpid()} on {socket.gethostname()}"


@dataclass
class Sweep:
    """The files of one sweep.

    Args:
        folder: The sweep folder.
        command: The command line, as typed.
        objective: Number by which the jobs are sorted, as named in the table; the largest of a scale is best.
    """

    folder: Path
    command: str
    objective: str
    threads: str | None = field(default_factory=lambda: os.environ.get("OMP_NUM_THREADS"))
    """Threads per job, if set by the user; joblib sets the variable in its own processes."""
    process: str = field(default_factory=this_process)
    """The process that started the sweep."""

    def plan(self, jobs: Sequence[ComposedJob], earlier: dict[str, Resume | Finished]) -> None:
        """Records all jobs, including those finished by an earlier call of the same sweep.

        Args:
            jobs: The jobs in order; only the first if the sweep's jobs are not known in advance.
            earlier: Job number -> how far the job got.
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
            self._log(f"{counted(len(planned), 'job')}: {self.command}")

    def begin(self, number: int, subfolder: str, overrides: list[str]) -> None:
        """Records that a job has started."""
        self._update(number, subfolder, overrides, status="running")

    def end(self, number: int, status: str, *, error: BaseException | None = None) -> SweepJob:
        """Records that a job has ended, and returns its entry.

        Args:
            number: The job number.
            status: `done`, `failed` or `interrupted`.
            error: Why it failed.
        """
        said = "; ".join(str(error).strip().splitlines()) if error is not None else None
        what = (said or type(error).__name__) if error is not None else None
        return self._update(number, status=status, error=what, is_input_wrong=isinstance(error, UserError))

    def close(self) -> list[SweepJob]:
        """Closes the sweep, marking jobs still recorded as running as killed. Returns the jobs, ranked."""
        with self._locked():
            jobs = self._read()
            for job in jobs:
                job.status = {"running": "killed", "waiting": "not run"}.get(job.status, job.status)
            self._write(jobs)
            self._log(f"ended: {sum(job.is_done for job in jobs)} of {len(jobs)} jobs are done")
        (self.folder / STOP).unlink(missing_ok=True)
        return ranked(jobs)

    def label(self, number: int) -> str:
        """Returns the overrides that distinguish a job from the others: `scale=2 loss.beta=0.01`."""
        return _label(number, self._read())

    def count(self) -> int:
        """Returns the number of jobs known so far."""
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
        """Reads the job's objective, duration and metrics from its `results.json`."""
        try:
            found = json.loads((self.folder / job.folder / "results.json").read_text(encoding="utf-8"))
            rows = [row for row in found["rows"] if row["method"] != "bicubic"]
            methods = {(row["method"], row.get("checkpoint")) for row in rows}
            figures = [[row["set"], row["scale"], row["psnr_y"], row["ssim_y"]] for row in rows]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return
        job.objective, job.minutes = finite_number(found.get("objective")), finite_number(found.get("minutes"))
        if len(methods) == 1 and all(isinstance(name, str) and type(scale) is int for name, scale, *_ in figures):
            job.rows = [(name, scale, finite_number(psnr), finite_number(ssim)) for name, scale, psnr, ssim in figures]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Admits one process at a time; without file-system locks, the last job to end rewrites the whole table."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with suppress(OSError):
                take_lock(descriptor, waits=True)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> list[SweepJob]:
        """Returns the jobs written by `_write`, in order of their numbers."""
        try:
            found = json.loads((self.folder / "sweep.json").read_text(encoding="utf-8"))
            jobs = [SweepJob(**job | {"rows": [tuple(row) for row in job["rows"]]}) for job in found["jobs"]]
        except (OSError, ValueError, LookupError, TypeError):
            return []
        return sorted(jobs, key=lambda job: job.number)

    def _write(self, jobs: Sequence[SweepJob]) -> None:
        """Writes both tables, best job of each scale first."""
        best_first = ranked(jobs)
        best = {scale: job.number for scale, job in best_of_scales(jobs).items()}
        document: dict[str, Any] = {"command": self.command, "objective": self.objective}
        document |= {"best": next(iter(best.values())) if len(best) == 1 else None, "best_of_scale": best}
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
