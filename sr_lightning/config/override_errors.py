"""Explains which overrides of a command line do not compose, and what is allowed in their place."""

from __future__ import annotations

import re
from pathlib import Path

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]  # it ships no types

from sr_lightning.config.conf_files import conf_dir, describe_yaml_error
from sr_lightning.text import nearest

# Hydra raises a ValueError for `group=3`; a file that is no YAML, has a key twice or asks for an object is YAML's.
COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, ValueError, YAMLError)


def find_wrong_overrides(name: str, overrides: list[str]) -> list[str]:
    """Tries each override alone: groups first, then values on top of the groups that are right."""
    findings: list[str] = []
    groups: list[str] = []
    values: list[list[str]] = []
    for override in overrides:
        try:
            parsed = OverridesParser.create().parse_override(override)
            choices = list(parsed.sweep_string_iterator()) if parsed.is_sweep_override() else []
        except HydraException as error:
            findings.append(f"{override}: {summarise(error)}")
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
    except COMPOSITION_ERRORS as error:
        said = str(error).partition("Config search path")[0]
        if match := re.search(r"Could not override '([^']+)'", said):
            return _unknown_key(name, match[1], overrides)
        if match := re.search(r"Could not find '([^']+)/([^'/]+)'\s+Available options in '[^']+':((?:\s+\S+)*)", said):
            return f"{match[1]}: found {match[2]!r}, {nearest(match[2], match[3].split())}"
        return f"{overrides[-1]}: {summarise(error)}"
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


def summarise(error: Exception) -> str:
    """Hydra's message without its references to its own documentation."""
    if isinstance(error, YAMLError):
        return describe_yaml_error(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Set the environment", "See https", "Config search path"))]
    return " ".join(lines[:4])
