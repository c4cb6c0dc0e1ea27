"""The jobs of one call under Hydra, how each ended, and the exit status that follows."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sr_lightning.cli.commands import COMMANDS, Command
from sr_lightning.cli.launcher import processes, run_ranks
from sr_lightning.config.conf_files import conf_dir
from sr_lightning.config.overrides import as_typed
from sr_lightning.distributed.environment import external_rank
from sr_lightning.errors import FailedError, UserError
from sr_lightning.runs.folder import refuse_used, remove_unused
from sr_lightning.runs.lock import locked
from sr_lightning.runs.resume import Finished, Resume, accept_differences, prepare
from sr_lightning.runs.run import Run
from sr_lightning.text import Table, shown

log = logging.getLogger(__name__)

Task = Callable[..., float | None]  # (config, run), or (config) where a command leaves no run folder


@dataclass
class JobOutcome:
    """How a run, or one job of a sweep, ended."""

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
        task: The command's function.
        command: The command line as typed, for the run's records.
    """

    name: str
    task: Task
    command: str
    resume: Resume | None = None
    earlier: dict[str, Resume | Finished] = field(default_factory=dict)
    """Number of a job -> how far an earlier call of the same sweep came with it."""
    jobs: list[JobOutcome] = field(default_factory=list)

    @property
    def definition(self) -> Command:
        """The command's row in the table."""
        return COMMANDS[self.name]

    def run_job(self, config: DictConfig) -> float | None:
        """Hydra's task function: one run, or one job of a sweep."""
        settings = HydraConfig.get()
        is_sweep = settings.mode is not None and settings.mode.name == "MULTIRUN"
        job = JobOutcome(
            name=str(settings.job.num) if is_sweep else "",
            overrides=as_typed(list(settings.overrides.task)),
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
            with lock_for_all_ranks(job.folder, f"job {job.name}") if is_sweep else nullcontext():
                job.objective = self._run(
                    job.folder, config, begun, Path(settings.sweep.dir).name if is_sweep else None
                )
        except Exception as error:
            job.error, job.status = error, f"failed: {error}"
            if isinstance(error, UserError) and not begun:
                remove_unused(job.folder, self.name)
            if not is_sweep:
                return None  # `start` raises it
            log.error("job %s (%s) failed: %s", job.name, " ".join(job.overrides), error)
            raise
        return job.objective

    def _run(self, folder: Path, config: DictConfig, begun: Resume | None, group: str | None) -> float | None:
        checked = self.definition.check(begun.composed() if begun else config)
        if begun:
            begun = replace(begun, differing=accept_differences(begun, checked))
        if external_rank() <= 0:
            if group is not None and begun is None:  # of a sweep whose jobs could not be known in advance
                refuse_used(folder, "hydra.sweep.subdir", is_resumable=False)
            for line in prepare(folder, begun):
                log.warning(line)
        run = Run(folder, self.command, group, begun)
        n = processes(checked)
        return self.task(checked, run) if n == 1 else run_ranks(n, self.name, checked, run)

    def call_hydra(self, arguments: list[str]) -> None:
        """Hydra's own main, on these arguments instead of those of the process."""
        decorated = hydra.main(version_base="1.3", config_path=conf_dir(), config_name=self.name)(self.run_job)
        before = sys.argv
        sys.argv = [before[0], *arguments]
        try:
            decorated()
        finally:
            sys.argv = before

    def start(self, arguments: list[str]) -> int:
        """Runs the jobs and derives the exit status; the error of a single run is raised."""
        print(self.definition.notice, flush=True)
        try:
            self.call_hydra(arguments)
        except Exception:
            if not any(job.error for job in self.jobs):
                raise
        errors = [job.error for job in self.jobs if job.error]
        if any(job.name for job in self.jobs):
            print_sweep(self.jobs, self.definition.objective)
        elif errors:
            raise errors[0]
        for job in self.jobs:
            if job.error and job.name and not isinstance(job.error, UserError | FailedError):
                traceback.print_exception(job.error)
        return 0 if not errors else 2 if all(isinstance(error, UserError) for error in errors) else 1


def lock_for_all_ranks(folder: Path, key: str) -> AbstractContextManager[None]:
    """The folder's lock, which the first process holds for all ranks."""
    return locked(folder, key) if external_rank() <= 0 else nullcontext()


def print_sweep(jobs: list[JobOutcome], objective: str) -> None:
    """Prints a table of the jobs, and how to run those that failed again.

    Args:
        jobs: In their order.
        objective: Head of the column of objectives.
    """
    table = Table(["job", "overrides", objective, "status"], ["job", objective])
    for job in jobs:
        value = "" if job.objective is None else f"{job.objective:+.3f}"
        table.add(job.name, " ".join(job.overrides), value, job.status)
    table.show()
    folder = shown(jobs[0].folder.parent)
    print(f"sweep folder {folder}")
    if any(job.error for job in jobs):
        print(f"the same command with hydra.sweep.dir={folder} runs only what is not done")
