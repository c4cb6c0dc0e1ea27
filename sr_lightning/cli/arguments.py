"""The command line, split into overrides of the config and Hydra's own flags."""

from __future__ import annotations

from dataclasses import dataclass

# Hydra's public `hydra.main` reads the command line itself, after which nothing can be checked before a job starts.
from hydra._internal.utils import get_args_parser

from sr_lightning.config.findings import refuse
from sr_lightning.config.overrides import quote_path
from sr_lightning.config.secrets import typed_secrets

_QUESTIONS = ("help", "hydra_help", "version", "info", "cfg", "shell_completion")


@dataclass(frozen=True)
class Arguments:
    """What the user typed."""

    typed: list[str]
    overrides: list[str]
    """`key=value` and the like; values that name files are quoted."""
    flags: list[str]
    """The rest, for Hydra."""
    config_dir: str | None
    config_name: str | None
    is_sweep: bool
    """`-m` was given."""
    is_question: bool
    """Hydra answers by itself, and nothing runs: `--help`, `--cfg job`, …"""


def parse_arguments(typed: list[str]) -> Arguments:
    """Splits a command line.

    Raises:
        UserError: It holds a secret.
        SystemExit: A flag is unknown.
    """
    refuse(list(typed_secrets(typed)))
    parsed = get_args_parser().parse_args(typed)
    return Arguments(
        typed=typed,
        overrides=[quote_path(override, is_sweep=parsed.multirun) for override in parsed.overrides],
        flags=[argument for argument in typed if argument not in parsed.overrides],
        config_dir=parsed.config_dir,
        config_name=parsed.config_name,
        is_sweep=parsed.multirun,
        is_question=any(getattr(parsed, flag, None) for flag in _QUESTIONS),
    )
