"""Parsing of the command line into config overrides and Hydra's own flags."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from typing import NoReturn

# Hydra's public `hydra.main` parses the command line itself, so that nothing could be checked before a job starts.
from hydra._internal.utils import get_args_parser

from sr_lightning.config.findings import refuse
from sr_lightning.config.override_errors import suggest_override
from sr_lightning.config.overrides import quote_path
from sr_lightning.config.secrets import typed_secrets
from sr_lightning.errors import UserError

_QUESTIONS = ("help", "hydra_help", "version", "info", "cfg", "shell_completion")
_FLAGS = "allowed: key=value, -m, --help, --cfg job, --config-dir, --config-name, --hydra-help"
# Options of other tools, and their equivalents here.
_OPTIONS = {
    "resume": "ckpt_path=last, or ckpt_path=<run folder>",
    "continue": "ckpt_path=last, or ckpt_path=<run folder>",
    "config": "--config-dir=<your folder> experiment=<name>, a file <your folder>/experiment/<name>.yaml",
    "cfg-file": "--config-dir=<your folder> experiment=<name>, a file <your folder>/experiment/<name>.yaml",
    "opt": "--config-dir=<your folder> experiment=<name>, a file <your folder>/experiment/<name>.yaml",
    "gpu": "trainer=gpu",
    "cpu": "trainer=cpu",
    "debug": "debug=fast",
    "wandb": "logger=wandb",
    "fp16": "trainer.precision=16-mixed",
    "amp": "trainer.precision=16-mixed",
    "bf16": "trainer.precision=bf16-mixed",
    "sweep": "-m",
}


@dataclass(frozen=True)
class Arguments:
    """The parsed command line."""

    overrides: list[str]
    """Overrides such as `key=value`; values that name files are quoted."""
    flags: list[str]
    """All other flags, needed when Hydra answers a question."""
    config_dir: str | None
    config_name: str | None
    is_sweep: bool
    """Whether `-m` was given."""
    is_question: bool
    """Whether Hydra only answers a question (`--help`, `--cfg job`, …) and nothing runs."""


def parse_arguments(typed: list[str], name: str) -> Arguments:
    """Parses a command line.

    Args:
        typed: Arguments without the program name.
        name: The primary config, used to look up keys for error messages.

    Raises:
        UserError: The command line contains a secret, or flags that are unknown, refused or misused.
    """
    refuse(list(typed_secrets(typed)))
    parser = get_args_parser()
    parser.allow_abbrev = False  # `--config` would be ambiguous between three flags
    parser.error = _refuse_flag  # type: ignore[method-assign]  # argparse would print its usage and exit
    parsed, unknown = parser.parse_known_intermixed_args(typed)
    refuse([_unknown_flag(flag, typed, name) for flag in unknown if flag.startswith("-")])
    if parsed.experimental_rerun:
        raise UserError(
            "--experimental-rerun: loads a pickle, which can run any code; allowed: --config-dir=<run>/.hydra "
            "--config-name=config"
        )
    if parsed.config_path:
        raise UserError("--config-path: would hide the project's own configs; allowed: --config-dir=<your folder>")
    if (parsed.resolve or parsed.package) and not parsed.cfg:
        raise UserError("--resolve, --package: say how --cfg prints a config; allowed: beside --cfg job")
    is_question = any(getattr(parsed, flag, None) for flag in _QUESTIONS)
    if parsed.run + parsed.multirun + is_question > 1:
        raise UserError("-m, --run: found beside each other or beside a question such as --cfg; allowed: one of them")
    if parsed.config_dir is not None and not os.path.isdir(parsed.config_dir):
        what = "is a file" if os.path.exists(parsed.config_dir) else "is not there"
        raise UserError(f"--config-dir: {parsed.config_dir} {what}; allowed: your own folder of configs")
    return Arguments(
        overrides=[quote_path(override, is_sweep=parsed.multirun) for override in parsed.overrides],
        flags=_flags(parsed),
        config_dir=parsed.config_dir,
        config_name=parsed.config_name,
        is_sweep=parsed.multirun,
        is_question=is_question,
    )


def _flags(parsed: argparse.Namespace) -> list[str]:
    """Returns Hydra's flags, each as a single word, so that overrides may follow."""
    switches = [f"--{name.replace('_', '-')}" for name, value in vars(parsed).items() if value is True]
    values = {name: value for name, value in vars(parsed).items() if isinstance(value, str)}
    return [*switches, *(f"--{name.replace('_', '-')}={value}" for name, value in values.items())]


def _unknown_flag(flag: str, typed: list[str], config: str) -> str:
    """Returns what to type instead of another tool's option."""
    name, _, value = flag.lstrip("-").partition("=")
    if name in _OPTIONS:
        return f"{flag.partition('=')[0]}: no such option; allowed: {_OPTIONS[name]}"
    following = typed[typed.index(flag) + 1 :][:1] if flag in typed else []
    if not value and following and "=" not in following[0] and not following[0].startswith("-"):
        value = following[0]
    return f"{flag}: no such option; {suggest_override(config, name.replace('-', '_'), value)}"


def _refuse_flag(message: str) -> NoReturn:
    raise UserError(f"{message}; {_FLAGS}")
