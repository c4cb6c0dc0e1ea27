"""Composing configs ahead of Hydra: all jobs of a command, or every reason why that cannot be done."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError  # type: ignore[import-untyped]  # it ships no types

from sr_lightning.config.conf_files import conf_dir
from sr_lightning.errors import UserError
from sr_lightning.text import nearest

# Keys whose values are names of files or folders: they may hold anything a file system allows.
PATH_KEYS = re.compile(
    r"(ckpt_path|checkpoint(\.[^.]+)?|data\.train_dir|data\.train_lr_dir|data\.(val|test)\.[^.]+(\.(hr|lr))?"
    r"|data\.shards\.(folder|cache_dir)|input|output"
    r"|paths\.\w+|preview\.output|check_data\.(output|folders)|model\.weights|loss\.perceptual\.weights"
    r"|hydra\.(run|sweep)\.dir)$"
)
# Hydra raises a ValueError for `group=3`; a file that is no YAML, has a key twice or asks for an object is YAML's.
_REFUSALS = (HydraException, OmegaConfBaseException, ValueError, YAMLError)
_OVERRIDE = re.compile(r"(?P<key>[+~]{0,2}[^=]+)=(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class ComposedJob:
    """One job: its overrides and its config, without the `hydra` section."""

    overrides: list[str]
    config: DictConfig
    is_sweep: bool


def quote_path(override: str, *, is_sweep: bool = False) -> str:
    """Quotes the value of a key that names a file, so that Hydra's grammar leaves it as it is.

    File names may hold spaces, `=`, commas, brackets and quotes, all of which mean something to Hydra.
    In a sweep a value with commas stays a choice, unless a file of that very name exists.
    """
    match = _OVERRIDE.fullmatch(override)
    if not match or not PATH_KEYS.match(match["key"].lstrip("+")):
        return override
    value = match["value"]
    is_syntax = value in ("", "null") or "${" in value or value[0] in "\"'" or value[0] + value[-1] in ("{}", "[]")
    is_choice = is_sweep and "," in value
    if (is_syntax or is_choice) and not os.path.exists(value):
        return override
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"{match['key']}='{escaped}'"


def compose_jobs(
    name: str, overrides: list[str], *, config_dir: str | None, config_name: str | None, is_sweep: bool
) -> list[ComposedJob]:
    """Composes the config of every job that a command line asks for.

    Args:
        name: The primary config.
        overrides: As typed, paths quoted.
        config_dir: The user's own folder of configs (Hydra's `--config-dir`).
        config_name: The user's own primary config (Hydra's `--config-name`).
        is_sweep: `-m` was given; a `sweep=` preset says the same from inside.

    Returns:
        At least one job. Only the first, with the first choice of each sweep, where the sweeper is not
        Hydra's basic one and nobody can tell which jobs it will ask for.

    Raises:
        UserError: Something does not compose; the message lists every override that is wrong.
    """
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        if config_dir:
            _search_too(config_dir)
        try:
            parsed = OverridesParser.create().parse_overrides(overrides)
            fixed = [o.input_line for o in parsed if not o.is_sweep_override() and o.input_line is not None]
            settings = compose(config_name or name, fixed, return_hydra_config=True).hydra
            is_sweep = is_sweep or (settings.mode is not None and settings.mode.name == "MULTIRUN")
            if not is_sweep:
                return [_composed(config_name or name, overrides, is_sweep=False)]
            presets = [f"{key}={value}" for key, value in (settings.sweeper.get("params") or {}).items()]
            given = {o.key_or_group for o in parsed}
            parsed += [o for o in OverridesParser.create().parse_overrides(presets) if o.key_or_group not in given]
            return [_composed(config_name or name, job, is_sweep=True) for job in _expanded(parsed, settings)]
        except _REFUSALS as error:
            findings = _findings_one_by_one(config_name or name, overrides) or [_first_lines(error)]
            raise UserError("\n".join(findings)) from None


def _composed(name: str, overrides: list[str], *, is_sweep: bool) -> ComposedJob:
    own = [o for o in overrides if not o.lstrip("+~").startswith("hydra")]
    return ComposedJob(own, compose(name, overrides), is_sweep)


def _expanded(parsed: list[Override], settings: DictConfig) -> list[list[str]]:
    if settings.sweeper.get("_target_", "").endswith("BasicSweeper"):
        batches = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        return [list(job) for batch in batches for job in batch]
    first = [f"{o.get_key_element()}={next(iter(o.sweep_string_iterator()))}" for o in parsed if o.is_sweep_override()]
    return [[*(o.input_line or "" for o in parsed if not o.is_sweep_override()), *first]]


def _search_too(config_dir: str) -> None:
    """As `--config-dir` does: an override of `hydra.searchpath` would come too late for a primary config in it."""
    path = create_config_search_path(conf_dir())
    path.prepend("command-line", f"file://{os.path.abspath(config_dir)}", anchor="schema")
    GlobalHydra.instance().clear()
    Hydra.create_main_hydra2(task_name="app", config_search_path=path)


def _findings_one_by_one(name: str, overrides: list[str]) -> list[str]:
    """Tries each override alone: groups first, then values on top of the groups that are right."""
    findings: list[str] = []
    groups: list[str] = []
    values: list[list[str]] = []
    for override in overrides:
        try:
            parsed = OverridesParser.create().parse_override(override)
            choices = list(parsed.sweep_string_iterator()) if parsed.is_sweep_override() else []
        except HydraException as error:
            findings.append(f"{override}: {_first_lines(error)}")
            continue
        lines = [f"{parsed.get_key_element()}={choice}" for choice in choices] or [override]
        is_text = bool(choices) or isinstance(parsed.value(), str | type(None))
        if not parsed.key_or_group:
            findings.append(f"{override}: a key is missing before the '='")
        elif "." in parsed.key_or_group or not is_text:
            values.append(lines)
        else:
            wrong = [finding for line in lines if (finding := _finding(name, [line]))]
            findings += wrong
            groups += [] if wrong else lines[:1]
    findings += [finding for lines in values for line in lines if (finding := _finding(name, [*groups, line]))]
    return list(dict.fromkeys(findings))


def _finding(name: str, overrides: list[str]) -> str | None:
    try:
        compose(name, overrides)
    except _REFUSALS as error:
        said = str(error).partition("Config search path")[0]
        if match := re.search(r"Could not override '([^']+)'", said):
            return _unknown_key(name, match[1], overrides)
        if match := re.search(r"Could not find '([^']+)/([^'/]+)'\s+Available options in '[^']+':((?:\s+\S+)*)", said):
            return f"{match[1]}: found {match[2]!r}, {nearest(match[2], match[3].split())}"
        return f"{overrides[-1]}: {_first_lines(error)}"
    return None


def _unknown_key(name: str, key: str, overrides: list[str]) -> str:
    config = compose(name, overrides[:-1])
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig):
        groups = sorted(path.stem for path in Path(conf_dir(), parent).glob("*.yaml"))
        hint = f"; {parent}=… chooses one, allowed: {', '.join(groups)}" if groups else ""
        return f"{key}: there is no section {parent!r}{hint}"
    with open_dict(node):
        names = [str(k) for k in node]
    return f"{key}: no such key; {nearest(leaf, names)} (a new key is added by +{key}=…)"


def said_of_yaml(error: YAMLError) -> str:
    """The file, the line and what is wrong there."""
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    where = f"{mark.name}, line {mark.line + 1}: " if mark else ""
    return f"{where}{getattr(error, 'problem', None) or error}"


def _first_lines(error: Exception) -> str:
    """What Hydra says, without its pointers to itself."""
    if isinstance(error, YAMLError):
        return said_of_yaml(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Set the environment", "See https", "Config search path"))]
    return " ".join(lines[:4])
