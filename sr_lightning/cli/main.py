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
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from sr_lightning.cli.commands import Command
from sr_lightning.cli.jobs import Session, Task, held
from sr_lightning.config.compose import compose_jobs, quote_path
from sr_lightning.config.conf_files import register_resolvers
from sr_lightning.config.schema import TrainConfig
from sr_lightning.config.secrets import typed_secrets
from sr_lightning.config.train import check_train
from sr_lightning.errors import FailedError, InterruptedRun, UserError
from sr_lightning.runs.folder import chosen_folder, claim_folder
from sr_lightning.runs.resume import accept_differences, find_folder, find_jobs, find_resume
from sr_lightning.text import Formatter, printable

_HYDRA_ONLY = ("help", "hydra_help", "version", "info", "cfg", "shell_completion")


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

    def run(config: DictConfig) -> None:
        with open_dict(config):
            section = OmegaConf.to_container(config.pop(name), resolve=True)
        assert isinstance(section, dict)
        task(check_train(config), {str(key): value for key, value in section.items()})

    return run_plain(name, run, argv)


def run_plain(name: str, task: Callable[[DictConfig], None], argv: list[str] | None) -> int:
    """Runs a command that leaves no run folder and has a config of its own.

    Args:
        name: The primary config.
        task: Gets the composed config, and checks it.
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
            Session(name, lambda *_: math.nan, program).call_hydra(typed)
            return 0
        if args.multirun:
            raise UserError(f"-m: {program} makes one thing; allowed: without -m")
        overrides = [quote_path(override) for override in args.overrides]
        (job,) = compose_jobs(name, overrides, config_dir=args.config_dir, config_name=args.config_name, is_sweep=False)
        console = logging.StreamHandler(sys.stdout)
        console.setFormatter(Formatter("%(message)s"))
        logging.basicConfig(level=logging.INFO, handlers=[console])
        task(job.config)
        return 0

    return _answered(program, run)


def _answered(program: str, run: Callable[[], int]) -> int:
    """The exit status, with what there is to say about it."""
    for name in ("SR_DATA", "SR_CACHE"):  # set to nothing means not set, as in a shell
        if not os.environ.get(name, "unset"):
            del os.environ[name]
    try:
        return run()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        _tell(f"{program}: the input is wrong\n{_indented(str(error))}")
        return 2
    except FailedError as error:
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
    session = Session(name, task, " ".join([program, *typed]))
    if any(getattr(args, flag, None) for flag in _HYDRA_ONLY):
        session.call_hydra(typed)
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
    with held(folder, "hydra.sweep.dir" if is_sweep else "hydra.run.dir"):
        if is_sweep:
            session.earlier = find_jobs(folder, [job.config for job in jobs])
        return session.start([*flags, *overrides, *claimed])


def _continue(session: Session, folder: Path, overrides: list[str], flags: list[str]) -> int:
    """Continues one run in its own folder."""
    with held(folder, "ckpt_path"):
        resume = session.resume = find_resume(folder, overrides)
        accept_differences(resume, check_train(resume.composed()))  # before anything is imported
        if resume.checkpoint:
            print(f"continuing {folder} from {resume.checkpoint.name}", flush=True)
        else:
            print(f"beginning {folder} again: it was interrupted before its first checkpoint", flush=True)
        own = [o for o in overrides if o.lstrip("+").startswith("hydra.")]
        own += [quote_path(f"hydra.run.dir={folder}"), "hydra.output_subdir=null"]
        return session.start([*flags, *own])


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


def _indented(text: str) -> str:
    return re.sub("^", "  ", text, flags=re.MULTILINE)


def _tell(message: str) -> None:
    print(printable(message), file=sys.stderr, flush=True)
