"""What every command shares: from the command line to checked configs, run folders and an exit status.

Hydra composes and sweeps; this wraps it so that a user's mistake is answered in a second with everything that
is wrong, that all jobs of a sweep are checked before the first one starts, and that the exit status says what
happened: 0 done, 2 the input is wrong, 1 a failure, 130/143 interrupted.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from sr_lightning.checks import typed_secrets
from sr_lightning.commands import COMMANDS, Command
from sr_lightning.compose import compose_jobs, quote_path
from sr_lightning.config import TrainConfig, check_config, conf_dir, register_resolvers
from sr_lightning.errors import InterruptedRun, TrainingFailedError, UserError
from sr_lightning.folders import chosen_folder, claim_folder, external_rank, remove_unused, shown
from sr_lightning.launch import processes, run_ranks
from sr_lightning.lock import locked
from sr_lightning.printable import Formatter, printable
from sr_lightning.resume import Finished, Resume, accept_differences, find_folder, find_jobs, find_resume, prepare
from sr_lightning.run import Run

log = logging.getLogger(__name__)

Task = Callable[[Any, Run], float | None]
_HYDRA_ONLY = ("help", "hydra_help", "version", "info", "cfg", "shell_completion")


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
class _Session:
    """One call of a command."""

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
            with _held(job.folder, f"job {job.name}") if is_sweep else nullcontext():
                job.objective = self._run(
                    job.folder, config, begun, Path(settings.sweep.dir).name if is_sweep else None
                )
        except Exception as error:
            job.error, job.status = error, f"failed: {error}"
            if isinstance(error, UserError) and not begun:
                remove_unused(job.folder, self.name)
            if not is_sweep:
                return None  # told once, by `_status`
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


def run_command(name: str, task: Task, argv: list[str] | None = None) -> int:
    """Runs one command of the project.

    Args:
        name: The primary config, `conf/<name>.yaml`, one of `COMMANDS`.
        task: Gets the checked config and the run; returns the objective that a sweeper maximises.
        argv: What the user typed, without the program's name; None for `sys.argv`.

    Returns:
        The exit status.
    """
    typed = sys.argv[1:] if argv is None else argv
    program = f"python -m sr_lightning.{name}"
    return _answered(program, lambda: _run_command(name, task, typed, program))


def run_without_folder(name: str, task: Callable[[TrainConfig, dict[str, Any]], None], argv: list[str] | None) -> int:
    """Runs a command that leaves no run folder.

    Args:
        name: The primary config; it stands on `train` and has a section of this name.
        task: Gets the checked config and the section.
        argv: As in `run_command`.

    Returns:
        The exit status.
    """
    typed = sys.argv[1:] if argv is None else argv
    program = f"python -m sr_lightning.{name}"

    def run() -> int:
        os.environ["HYDRA_FULL_ERROR"] = "1"
        register_resolvers()
        _refuse_secrets(typed)
        args = get_args_parser().parse_args(typed)
        if any(getattr(args, flag, None) for flag in _HYDRA_ONLY):
            _call_hydra(_Session(name, lambda *_: math.nan, program), typed)
            return 0
        if args.multirun:
            raise UserError(f"-m: {program} makes one thing; allowed: without -m")
        overrides = [quote_path(override) for override in args.overrides]
        (job,) = compose_jobs(name, overrides, config_dir=args.config_dir, config_name=args.config_name, is_sweep=False)
        with open_dict(job.config):
            section = OmegaConf.to_container(job.config.pop(name), resolve=True)
        assert isinstance(section, dict)
        config = check_config(job.config)
        console = logging.StreamHandler(sys.stdout)
        console.setFormatter(Formatter("%(message)s"))
        logging.basicConfig(level=logging.INFO, handlers=[console])
        task(config, {str(key): value for key, value in section.items()})
        return 0

    return _answered(program, run)


def _answered(program: str, run: Callable[[], int]) -> int:
    """The exit status, with what there is to say about it."""
    try:
        return run()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        _tell(f"{program}: the input is wrong\n{_indented(str(error))}")
        return 2
    except TrainingFailedError as error:
        _tell(f"{program}: {error}")
        return 1
    except InterruptedRun as stopped:
        return stopped.exit_status
    except KeyboardInterrupt:
        _tell("interrupted")
        return 130
    except Exception:
        traceback.print_exc()
        return 1


def _run_command(name: str, task: Task, typed: list[str], program: str) -> int:
    # Composition and job errors come through as they are, not as text printed by Hydra with status 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register_resolvers()
    _refuse_secrets(typed)
    args = get_args_parser().parse_args(typed)
    session = _Session(name, task, " ".join([program, *typed]))
    if any(getattr(args, flag, None) for flag in _HYDRA_ONLY):
        _call_hydra(session, typed)
        return 0
    overrides = [quote_path(override, is_sweep=args.multirun) for override in args.overrides]
    flags = [argument for argument in typed if argument not in args.overrides]
    if session.known.continues and (folder := find_folder(overrides, is_sweep=args.multirun)) is not None:
        return _continue(session, folder, overrides, flags)
    jobs = compose_jobs(
        name, overrides, config_dir=args.config_dir, config_name=args.config_name, is_sweep=args.multirun
    )
    _check_all(jobs, session.known)
    is_sweep = jobs[0].is_sweep
    claimed = claim_folder(name, Path(str(jobs[0].config.paths.runs)), overrides, is_sweep=is_sweep)
    folder = chosen_folder([*overrides, *claimed], is_sweep=is_sweep)
    assert folder is not None
    with _held(folder, "hydra.sweep.dir" if is_sweep else "hydra.run.dir"):
        if is_sweep:
            session.earlier = find_jobs(folder, [job.config for job in jobs])
        return _start(session, [*flags, *overrides, *claimed])


def _continue(session: _Session, folder: Path, overrides: list[str], flags: list[str]) -> int:
    """Continues one run in its own folder."""
    with _held(folder, "ckpt_path"):
        resume = session.resume = find_resume(folder, overrides)
        accept_differences(resume, check_config(resume.composed()))  # before anything is imported
        if resume.checkpoint:
            print(f"continuing {folder} from {resume.checkpoint.name}", flush=True)
        else:
            print(f"beginning {folder} again: it was interrupted before its first checkpoint", flush=True)
        own = [o for o in overrides if o.lstrip("+").startswith("hydra.")]
        own += [quote_path(f"hydra.run.dir={folder}"), "hydra.output_subdir=null"]
        return _start(session, [*flags, *own])


def _held(folder: Path, key: str) -> AbstractContextManager[None]:
    """The folder's lock; the first process holds it for all ranks."""
    return locked(folder, key) if external_rank() <= 0 else nullcontext()


def _start(session: _Session, arguments: list[str]) -> int:
    print("loading torch and lightning …", flush=True)
    return _status(session, lambda: _call_hydra(session, arguments))


def _refuse_secrets(typed: list[str]) -> None:
    if findings := list(typed_secrets(typed)):
        raise UserError("\n".join(findings))


def _check_all(jobs: list[Any], known: Command) -> None:
    """Checks every job of a sweep before the first starts."""
    findings: dict[str, list[str]] = {}
    for job in jobs:
        try:
            known.check(job.config)
        except UserError as error:
            for line in str(error).splitlines():
                findings.setdefault(line, []).append(" ".join(job.overrides))
    if findings:
        several = len(jobs) > 1
        raise UserError(
            "\n".join(f"{line}   [{'; '.join(where)}]" if several else line for line, where in findings.items())
        )


def _call_hydra(session: _Session, arguments: list[str]) -> None:
    decorated = hydra.main(version_base="1.3", config_path=conf_dir(), config_name=session.name)(session.job)
    before = sys.argv
    sys.argv = [before[0], *arguments]
    try:
        decorated()
    finally:
        sys.argv = before


def _status(session: _Session, call: Callable[[], None]) -> int:
    """Runs the jobs and turns what became of them into the exit status."""
    try:
        call()
    except Exception:
        if not any(job.error for job in session.jobs):
            raise
    errors = [job.error for job in session.jobs if job.error]
    if any(job.name for job in session.jobs):
        _print_sweep(session.jobs, session.known.objective)
    elif errors:
        raise errors[0]
    for job in session.jobs:
        if job.error and job.name and not isinstance(job.error, UserError | TrainingFailedError):
            traceback.print_exception(job.error)
    return 0 if not errors else 2 if all(isinstance(error, UserError) for error in errors) else 1


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


def _indented(text: str) -> str:
    return re.sub("^", "  ", text, flags=re.MULTILINE)


def _tell(message: str) -> None:
    print(printable(message), file=sys.stderr, flush=True)
