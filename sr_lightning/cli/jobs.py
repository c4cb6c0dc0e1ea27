"""One call of a command under Hydra: its jobs, what became of each, and the exit status that this makes."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sr_lightning.cli.commands import COMMANDS, Command
from sr_lightning.cli.launcher import processes, run_ranks
from sr_lightning.config.conf_files import conf_dir
from sr_lightning.distributed.environment import external_rank
from sr_lightning.errors import FailedError, UserError
from sr_lightning.runs.folder import remove_unused
from sr_lightning.runs.lock import locked
from sr_lightning.runs.resume import Finished, Resume, accept_differences, prepare
from sr_lightning.runs.run import Run
from sr_lightning.text import printable, shown

log = logging.getLogger(__name__)

Task = Callable[[Any, Run], float | None]


@dataclass
class Job:
    """What became of one job of a sweep."""

    name: str
    overrides: list[str]
    folder: Path
    objective: float | None = None
    error: BaseException | None = None
    status: str = "done"


@dataclass
class Session:
    """One call of a command.

    Args:
        name: One of `COMMANDS`.
        task: What each job runs.
        command: What was typed, for the run's records.
    """

    name: str
    task: Task
    command: str
    resume: Resume | None = None
    earlier: dict[str, Resume | Finished] = field(default_factory=dict)
    """Jobs that an earlier call of the same sweep finished or began."""
    jobs: list[Job] = field(default_factory=list)

    @property
    def known(self) -> Command:
        """Its schema and its check."""
        return COMMANDS[self.name]

    def job(self, config: DictConfig) -> float | None:
        """Hydra's task function: one run, or one job of a sweep."""
        settings = HydraConfig.get()
        is_sweep = settings.mode is not None and settings.mode.name == "MULTIRUN"
        job = Job(
            name=str(settings.job.num) if is_sweep else "",
            overrides=list(settings.overrides.task),
            folder=Path(settings.runtime.output_dir),
        )
        self.jobs.append(job)
        begun = self.earlier.get(job.name, self.resume)
        if isinstance(begun, Finished):
            job.objective, job.status = begun.objective, "done before"
            return job.objective
        logging.getLogger("lightning").handlers.clear()  # else each line of Lightning's appears twice
        if external_rank() > 0:
            logging.getLogger().setLevel(logging.WARNING)  # the first process speaks for all
        try:
            # A single run's folder is held by the command already.
            with held(job.folder, f"job {job.name}") if is_sweep else nullcontext():
                job.objective = self._run(
                    job.folder, config, begun, Path(settings.sweep.dir).name if is_sweep else None
                )
        except Exception as error:
            job.error, job.status = error, f"failed: {error}"
            if isinstance(error, UserError) and not begun:
                remove_unused(job.folder, self.name)
            if not is_sweep:
                return None  # told once, by `start`
            log.error("job %s (%s) failed: %s", job.name, " ".join(job.overrides), error)
            raise
        return job.objective

    def _run(self, folder: Path, config: DictConfig, begun: Resume | None, group: str | None) -> float | None:
        checked = self.known.check(begun.composed() if begun else config)
        if begun:
            begun = replace(begun, differing=accept_differences(begun, checked))
        if external_rank() <= 0:
            for line in prepare(folder, begun):
                log.warning(line)
        run = Run(folder, self.command, group, begun)
        n = processes(checked)
        return self.task(checked, run) if n == 1 else run_ranks(n, self.name, checked, run)

    def call_hydra(self, arguments: list[str]) -> None:
        """Hydra's own main, on these arguments instead of those of the process."""
        decorated = hydra.main(version_base="1.3", config_path=conf_dir(), config_name=self.name)(self.job)
        before = sys.argv
        sys.argv = [before[0], *arguments]
        try:
            decorated()
        finally:
            sys.argv = before

    def start(self, arguments: list[str]) -> int:
        """Runs the jobs and turns what became of them into the exit status."""
        print(f"loading {self.known.loads} …", flush=True)
        try:
            self.call_hydra(arguments)
        except Exception:
            if not any(job.error for job in self.jobs):
                raise
        errors = [job.error for job in self.jobs if job.error]
        if any(job.name for job in self.jobs):
            _print_sweep(self.jobs, self.known.objective)
        elif errors:
            raise errors[0]
        for job in self.jobs:
            if job.error and job.name and not isinstance(job.error, UserError | FailedError):
                traceback.print_exception(job.error)
        return 0 if not errors else 2 if all(isinstance(error, UserError) for error in errors) else 1


def held(folder: Path, key: str) -> AbstractContextManager[None]:
    """The folder's lock; the first process holds it for all ranks."""
    return locked(folder, key) if external_rank() <= 0 else nullcontext()


def _print_sweep(jobs: list[Job], objective: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("job", "overrides", objective, "status"):
        table.add_column(column, overflow="fold", justify="right" if "dB" in column else "left")
    for job in jobs:
        value = "" if job.objective is None else f"{job.objective:+.3f}"
        table.add_row(job.name, escape(printable(" ".join(job.overrides))), value, escape(printable(job.status)))
    Console().print(table)
    folder = shown(jobs[0].folder.parent)
    print(f"sweep folder {folder}")
    if any(job.error for job in jobs):
        print(f"the same command with hydra.sweep.dir={folder} runs only what is not done")
