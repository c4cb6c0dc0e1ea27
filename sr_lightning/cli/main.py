"""Entry point shared by all commands: parses arguments, composes and checks jobs, claims the run folder, calls Hydra.

Hydra composes and sweeps. On top of that, user mistakes are reported within a second and all at once, all jobs of a
sweep are checked before the first one starts, and the exit status tells what happened.
"""

from __future__ import annotations

import logging
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from sr_lightning import __version__
from sr_lightning.cli.arguments import Arguments, parse_arguments
from sr_lightning.cli.command_table import command_summary
from sr_lightning.cli.commands import COMMANDS, Command
from sr_lightning.cli.environment import prepared_environment
from sr_lightning.cli.exit_status import exit_status
from sr_lightning.cli.help import print_help, take_help
from sr_lightning.cli.jobs import Session, Task, lock_for_all_ranks
from sr_lightning.cli.sweep import Sweep
from sr_lightning.config.compose import ComposedJob, compose_jobs, translate_overrides
from sr_lightning.config.overrides import quote_path
from sr_lightning.config.train import check_train
from sr_lightning.distributed.environment import external_rank
from sr_lightning.errors import UserError
from sr_lightning.runs.folder import claim_folder, folder_overrides
from sr_lightning.runs.resume import accept_differences, find_folder, find_resume
from sr_lightning.runs.sweep_jobs import find_jobs
from sr_lightning.text import Formatter, is_for_screen


def run_command(name: str, task: Task, argv: list[str] | None = None) -> int:
    """Runs one command of the project.

    Args:
        name: One of `COMMANDS`.
        task: The command's function. It takes the checked config; if the command leaves a run folder, it also takes the
            run and returns the objective that a sweep compares.
        argv: Command-line arguments without the program name; None for `sys.argv`.

    Returns:
        The exit status.
    """
    typed = sys.argv[1:] if argv is None else argv
    program = f"python -m sr_lightning.{name}"
    with prepared_environment():
        return exit_status(program, lambda: _run(name, task, typed, program))


def _run(name: str, task: Task, typed: list[str], program: str) -> int:
    if "--version" in typed:
        print(f"sr_lightning {__version__}")
        return 0
    part, typed = take_help(typed)
    arguments, command = parse_arguments(typed, name), COMMANDS[name]
    if part is not None:
        summary, sweeps = command_summary(name), command.schema is not None
        print_help(name, part, _translate(name, arguments), check=command.check, summary=summary, sweeps=sweeps)
        return 0
    session = Session(name, task, shlex.join([*program.split(), *typed]))
    if command.can_resume and not arguments.is_question:
        folder = find_folder(arguments.overrides, is_sweep=arguments.is_sweep)
        if folder is not None:
            return _resume(session, folder, arguments)
    arguments = _translate(name, arguments)
    if arguments.is_question:
        if "--resolve" in arguments.flags:
            _compose(name, arguments)  # refuses to print a secret
        session.answer(arguments)
        return 0
    return _begin(session, arguments) if command.schema else _run_once(name, task, arguments, program)


def _run_once(name: str, task: Task, arguments: Arguments, program: str) -> int:
    """Runs a command that leaves no run folder."""
    if arguments.is_sweep:
        raise UserError(f"-m: {program} makes one thing; allowed: without -m")
    command = COMMANDS[name]
    (job,) = _compose(name, arguments)
    config = command.check(job.config)
    console = logging.StreamHandler(sys.stdout)
    console.setFormatter(Formatter("%(message)s"))
    console.addFilter(is_for_screen)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(console)
    root.setLevel(logging.INFO)
    if command.notice:
        print(command.notice, flush=True)
    try:
        task(config, arguments) if command.takes_arguments else task(config)
    finally:  # a program that calls several commands gets each message once, on the current stdout
        root.removeHandler(console)
        root.setLevel(level)
    return 0


def _begin(session: Session, arguments: Arguments) -> int:
    """Starts a new run or sweep; in the folder of an earlier sweep call, runs the jobs that it left unfinished."""
    jobs = _compose(session.name, arguments)
    _check_all(jobs, session.definition)
    is_sweep = jobs[0].is_sweep
    root = Path(str(jobs[0].config.paths.runs))
    chosen = Path(jobs[0].folder) if jobs[0].folder is not None else None
    folder = claim_folder(session.name, root, chosen, is_sweep=is_sweep)
    claimed = folder_overrides(session.name, folder, is_sweep=is_sweep)
    with lock_for_all_ranks(folder, "hydra.sweep.dir" if is_sweep else "hydra.run.dir"):
        if not is_sweep:
            return session.start_run(arguments, jobs[0], folder, claimed)
        session.earlier = find_jobs(folder, [(job.subfolder, job.config) for job in jobs])
        session.launcher = jobs[0].launcher
        sweep = session.sweep = Sweep(folder, session.command, session.definition.objective)
        if external_rank() <= 0:
            sweep.plan(jobs, session.earlier)
        key = claimed[0].partition("=")[0]
        others = [override for override in arguments.overrides if override.lstrip("+").partition("=")[0] != key]
        return session.start_sweep(replace(arguments, overrides=[*others, *claimed]), sweep)


def _resume(session: Session, folder: Path, arguments: Arguments) -> int:
    """Resumes a run in its own folder."""
    with lock_for_all_ranks(folder, "ckpt_path"):
        resume = session.resume = find_resume(folder, arguments.overrides)
        config = check_train(resume.composed())
        accept_differences(resume, config)  # before anything is imported
        step, most = resume.step, config.trainer["max_steps"]
        if step is not None and step >= most:
            print(_all_is_trained(folder, step, most), flush=True)
        elif resume.checkpoint:
            print(f"continuing {folder} from {resume.checkpoint.name}", flush=True)
        else:
            print(f"beginning {folder} again: it was interrupted before its first checkpoint", flush=True)
        own = [o for o in arguments.overrides if o.lstrip("+").startswith("hydra.")]
        (job,) = _compose(session.name, replace(arguments, overrides=own))  # Hydra takes these from the command line
        return session.start_run(
            arguments, job, folder, [quote_path(f"hydra.run.dir={folder}"), "hydra.output_subdir=null"]
        )


def _all_is_trained(folder: Path, step: int, most: int) -> str:
    """Describes what is left of a run whose checkpoint has reached `trainer.max_steps`."""
    if step > most:
        return f"the run is already at step {step}, past trainer.max_steps={most}: only the final test is left"
    is_tested = (folder / "results.json").is_file()
    what = "is finished" if is_tested else "is trained, but not tested"
    left = "only its test is repeated" if is_tested else "only its test is left"
    more = f"trainer.max_steps={2 * most}, for instance, trains on"
    return f"{folder} {what}, at step {step} of {most}: {left}; {more}"


def _translate(name: str, arguments: Arguments) -> Arguments:
    translated = translate_overrides(
        name, arguments.overrides, config_dir=arguments.config_dir, config_name=arguments.config_name
    )
    return replace(arguments, overrides=translated)


def _compose(name: str, arguments: Arguments) -> list[ComposedJob]:
    return compose_jobs(
        name,
        arguments.overrides,
        config_dir=arguments.config_dir,
        config_name=arguments.config_name,
        is_sweep=arguments.is_sweep,
    )


def _check_all(jobs: list[ComposedJob], command: Command) -> None:
    """Checks every job of a sweep before the first starts; each finding names the jobs it applies to."""
    findings: dict[str, list[str]] = {}
    for job in jobs:
        try:
            command.check(job.config)
        except UserError as error:
            for line in str(error).splitlines():
                findings.setdefault(line, []).append(" ".join(job.overrides))
    if findings:
        several = len(jobs) > 1
        raise UserError(
            "\n".join(f"{line}   [{'; '.join(where)}]" if several else line for line, where in findings.items())
        )
