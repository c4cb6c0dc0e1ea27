"""Running of a command's jobs under Hydra: the outcome of each, and the resulting exit status."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf

from sr_lightning.cli.arguments import Arguments
from sr_lightning.cli.commands import COMMANDS, Command
from sr_lightning.cli.concurrent_job import ConcurrentJob, stop_is_asked, stopping_jobs
from sr_lightning.cli.interruption import begun_or_removed
from sr_lightning.cli.launcher import processes, run_ranks
from sr_lightning.cli.sweep import Sweep
from sr_lightning.cli.sweep_table import SweepJob, print_sweep
from sr_lightning.config.compose import ComposedJob, opened_configs
from sr_lightning.config.conf_files import conf_dir
from sr_lightning.config.launchers import is_one_after_the_other
from sr_lightning.config.overrides import as_typed
from sr_lightning.distributed.environment import external_rank
from sr_lightning.errors import FailedError, InterruptedRun, UserError, one_line
from sr_lightning.runs.folder import refuse_used, remove_unused
from sr_lightning.runs.lock import locked
from sr_lightning.runs.resume import Resume, accept_differences, prepare
from sr_lightning.runs.run import Run
from sr_lightning.runs.sweep_jobs import Finished
from sr_lightning.text import printable

log = logging.getLogger(__name__)

Task = Callable[..., float | None]  # (config, run), or (config) if the command leaves no run folder


@dataclass
class Session:
    """One invocation of a command.

    Args:
        name: One of `COMMANDS`.
        task: The command's function.
        command: The command line for the run's records, quoted for a shell.
    """

    name: str
    task: Task
    command: str
    resume: Resume | None = None
    earlier: dict[str, Resume | Finished] = field(default_factory=dict)
    """Job number -> how far an earlier call of the same sweep got with it."""
    sweep: Sweep | None = None
    """The sweep; None for a single run."""
    launcher: str = ""
    """Name of the class that runs a sweep's jobs."""
    error: Exception | None = None
    """Error of a single run; in a sweep, set on all ranks except the first, which records how each job ended."""

    @property
    def definition(self) -> Command:
        """The command's row in the table."""
        return COMMANDS[self.name]

    def run_job(self, config: DictConfig) -> float | None:
        """Hydra's task function: one run, or one job of a sweep."""
        settings = HydraConfig.get()
        logging.getLogger("lightning").handlers.clear()  # otherwise each of Lightning's lines appears twice
        if external_rank() > 0:
            logging.getLogger().setLevel(logging.WARNING)  # the first process logs for all
        folder = Path(settings.runtime.output_dir)
        if self.sweep is not None:
            return self._run_sweep_job(settings, folder, config, self.sweep)
        try:
            return self._run(folder, config, self.resume)
        except Exception as error:
            self.error = error  # `start` raises it
            if isinstance(error, UserError):
                self._remove_unused(folder)
            return None

    def _run_sweep_job(self, settings: Any, folder: Path, config: DictConfig, sweep: Sweep) -> float | None:
        """Runs one job of a sweep. A failure is recorded rather than raised, so that the other jobs go on."""
        number, subfolder = int(settings.job.num), os.path.relpath(folder, sweep.folder)
        # Unresolved: an interpolation is the same in all jobs, its value is not.
        overrides = as_typed(cast("list[str]", OmegaConf.to_container(settings.overrides.task, resolve=False)))
        begun = self.earlier.get(str(number))
        if isinstance(begun, Finished):
            return begun.objective
        concurrent = ConcurrentJob.of(settings, sweep)
        if stop_is_asked(sweep.folder):
            return None
        if external_rank() <= 0:
            sweep.begin(number, subfolder, overrides)
        log.info("\njob %d of %d: %s", number, sweep.count(), sweep.label(number))
        try:
            with concurrent or nullcontext(), lock_for_all_ranks(folder, f"job {number}"):
                objective = self._run(folder, config, begun, concurrent)
        except (InterruptedRun, KeyboardInterrupt):
            self._end_job(sweep, number, "interrupted")
            if not begun:
                remove_unused(folder, self.name)
            if concurrent is None:
                raise
            return None
        except Exception as error:
            self._end_job(sweep, number, "failed", error)
            if isinstance(error, UserError) and not begun:
                remove_unused(folder, self.name)
            if not settings.sweeper.get("_target_", "").endswith("BasicSweeper"):
                raise  # other sweepers need to know
            return None
        self._end_job(sweep, number, "done")
        return objective

    def _end_job(self, sweep: Sweep, number: int, status: str, error: Exception | None = None) -> None:
        """Records how a job ended; a traceback goes to the job's log, not in between the output of other jobs."""
        if error is not None and not isinstance(error, UserError | FailedError):
            lines = "".join(traceback.format_exception(error))
            record = log.makeRecord(log.name, logging.ERROR, __file__, 0, "%s", (lines,), None)
            for handler in logging.getLogger().handlers:
                if isinstance(handler, logging.FileHandler):
                    handler.emit(record)
        if external_rank() > 0:
            self.error = self.error or error
            return
        job = sweep.end(number, status, error=error)
        if status != "done":
            log.error("job %d %s%s", number, status, f": {job.error}" if job.error else "")
        elif not is_one_after_the_other(self.launcher):
            reached = "" if job.objective is None else f", {sweep.objective} {job.objective:+.3f}"
            log.info("job %d done%s", number, reached)

    def _run(
        self, folder: Path, config: DictConfig, begun: Resume | None, concurrent: ConcurrentJob | None = None
    ) -> float | None:
        checked = self.definition.check(begun.composed() if begun else config)
        if begun:
            begun = replace(begun, differing=accept_differences(begun, checked))
        if external_rank() <= 0:
            if self.sweep is not None and begun is None:  # in a sweep whose jobs are not known in advance
                refuse_used(folder, "hydra.sweep.subdir", is_resumable=False)
            for line in prepare(folder, None):  # what is later than a checkpoint is removed once it is known to fit
                log.warning(line)
        run = Run(folder, self.command, self.sweep.folder.name if self.sweep else None, begun)
        if concurrent is not None and concurrent.needs_process:
            return concurrent.run(self.name, checked, run)
        n = processes(checked)
        return self.task(checked, run) if n == 1 else run_ranks(n, self.name, checked, run)

    def answer(self, arguments: Arguments) -> None:
        """Lets Hydra's own main answer a question such as `--cfg job`."""
        decorated = hydra.main(version_base="1.3", config_path=conf_dir(), config_name=self.name)(self.run_job)
        before = sys.argv
        sys.argv = [before[0], *arguments.overrides, *arguments.flags]
        try:
            decorated()
        finally:
            sys.argv = before

    def start_run(self, arguments: Arguments, job: ComposedJob, folder: Path, overrides: list[str]) -> int:
        """Runs a single job and returns the exit status; its error is raised.

        Args:
            arguments: The command line.
            job: The composed job.
            folder: Its folder.
            overrides: Further overrides of the section `hydra`, such as its folder.
        """
        print(self.definition.notice, flush=True)
        with opened_configs(self.name, arguments.config_dir) as loaded:
            config = job.with_hydra([*overrides, "hydra.mode=RUN"])

            def composed(**_: Any) -> DictConfig:
                configure_log(config.hydra.hydra_logging, config.hydra.verbose)
                return config

            loaded.compose_config = composed  # type: ignore[method-assign,assignment]  # composed before, for the checks
            with begun_or_removed(lambda: self._remove_unused(folder)):
                loaded.run(config_name=arguments.config_name or self.name, task_function=self.run_job, overrides=[])
        if self.error is not None:
            raise self.error
        return 0

    def _remove_unused(self, folder: Path) -> None:
        """Removes the folder of a new run that never began."""
        if self.resume is None:
            remove_unused(folder, self.name)

    def start_sweep(self, arguments: Arguments, sweep: Sweep) -> int:
        """Runs the jobs of a sweep and returns the exit status."""
        print(self.definition.notice, flush=True)
        are_concurrent = not is_one_after_the_other(self.launcher)
        done = sum(isinstance(begun, Finished) for begun in self.earlier.values())
        if done and external_rank() <= 0:
            print(f"{done} of {sweep.count()} jobs are done, and not run again", flush=True)
        stopped: BaseException | None = None
        try:
            with stopping_jobs(sweep.folder) if are_concurrent else begun_or_removed(lambda: None):
                self._call_hydra(arguments)
        except BaseException as error:
            stopped = error
        if external_rank() > 0:
            own = stopped or self.error
            if own is not None:
                raise own
            return 0
        jobs = sweep.close()
        print_sweep(sweep.folder, jobs, sweep.objective, self.name)
        if stopped is not None and (not isinstance(stopped, Exception) or all(job.status == "not run" for job in jobs)):
            raise stopped
        if isinstance(stopped, Exception):  # a launcher lost a job's process; the table shows which
            print(f"the launcher ended early: {printable(one_line(stopped))}", file=sys.stderr, flush=True)
        return sweep_status(jobs)

    def _call_hydra(self, arguments: Arguments) -> None:
        """Runs the jobs of the sweep; Hydra's main would compose again to find out that it is one."""
        with opened_configs(self.name, arguments.config_dir) as loaded:
            overrides = [*arguments.overrides, "hydra.mode=MULTIRUN"]
            name = arguments.config_name or self.name
            loaded.multirun(config_name=name, task_function=self.run_job, overrides=overrides)


def sweep_status(jobs: list[SweepJob]) -> int:
    """Returns 0 if all jobs are done, 2 if all the others had wrong input, 1 if one failed or did not finish."""
    others = [job for job in jobs if not job.is_done]
    return 0 if not others else 2 if all(job.is_input_wrong for job in others) else 1


def lock_for_all_ranks(folder: Path, key: str) -> AbstractContextManager[None]:
    """Returns the folder's lock, held by the first process on behalf of all ranks."""
    return locked(folder, key) if external_rank() <= 0 else nullcontext()
