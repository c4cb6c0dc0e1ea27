"""Explanations of which overrides do not compose, and what is allowed instead."""

from __future__ import annotations

import copy
import difflib
import re
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]  # it ships no types

from sr_lightning.config.conf_files import conf_dir, describe_yaml_error
from sr_lightning.config.cut_words import take_cut
from sr_lightning.config.schema import RUN_CONFIGS
from sr_lightning.config.signatures import parameters
from sr_lightning.config.suggestions import dotted_keys, find_key, suggest_key

# Hydra raises ValueError for `group=3`, and YAMLError for invalid YAML, duplicate keys and object tags in files.
COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, ValueError, YAMLError)
# Sections whose keys are names given by the user, and what is typed to add one.
_OPEN = {
    "callbacks": "{_target_: …}",
    "logger": "{_target_: …}",
    "data.val": "<folder>",
    "data.test": "<folder>",
    "loss.terms": "{_target_: …, weight: …}",
    "loss.warmup": "[0.1,0.5]",
    "checkpoint": "…",
    "predictions": "…",
}
_SHAPE = re.compile(r"(?P<sign>\+\+|\+|~)?(?P<key>[^=\s:]*)(?P<sign2>\s*(==|=|:)\s*)(?P<value>.*)", re.DOTALL)


def find_wrong_overrides(name: str, overrides: list[str], *, is_sweep: bool) -> list[str]:
    """Tries each override alone: first groups, then values on top of the valid groups."""
    findings, overrides = take_cut(name, overrides)
    groups: list[str] = []
    values: list[tuple[Override, list[str]]] = []
    for override in overrides:
        if (shape := _wrong_shape(override)) is not None:
            findings.append(shape)
            continue
        try:
            parsed = OverridesParser.create().parse_override(override)
            choices = list(parsed.sweep_string_iterator()) if parsed.is_sweep_override() else []
        except HydraException:
            findings.append(_wrong_value(override))
            continue
        if choices and not is_sweep:
            key, _, value = override.partition("=")
            ways = f"one value, a list {key}=[{value}], or with -m a sweep"
            if name not in RUN_CONFIGS:
                ways = f"one value or a list {key}=[{value}]"
            findings.append(f"{key}: found {value}, allowed: {ways}")
            continue
        lines = [f"{parsed.get_key_element()}={choice}" for choice in choices] or [override]
        is_text = bool(choices) or isinstance(parsed.value(), str | type(None))
        if "." in parsed.key_or_group or not is_text:
            values.append((parsed, lines))
        else:
            wrong = [finding for line in lines if (finding := _finding(name, [line], None))]
            findings += wrong
            groups += [] if wrong else lines[:1]
    try:
        base = compose(name, groups, return_hydra_config=True)
    except COMPOSITION_ERRORS:  # the primary config, or groups that are only valid alone; no value is at fault
        return list(dict.fromkeys(findings))
    for parsed, lines in values:
        # A key without a dot may be a group, and `hydra` keys can affect composition: both need a full compose.
        key = parsed.key_or_group
        alone = _value_finding if "." in key and not key.startswith("hydra.") else _finding
        wrong = [finding for line in lines if (finding := alone(name, [*groups, line], base))]
        findings += wrong
        if not wrong and (parsed.is_delete() or parsed.is_force_add()):
            groups += lines[:1]  # a replaced section, in which other overrides set keys
            ConfigLoaderImpl._apply_overrides_to_config(OverridesParser.create().parse_overrides(lines[:1]), base)
    return list(dict.fromkeys(findings))


def suggest_override(name: str, key: str, value: str) -> str:
    """Returns what to type instead of a key, possibly another tool's, that was passed as an option."""
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        config = compose(name)
    meant = key if key in dict(dotted_keys(config)) else find_key(key, config)
    return f"did you mean {meant}={value or '<value>'}?" if meant else "allowed: key=value, such as scale=2"


def _wrong_shape(override: str) -> str | None:
    """Explains an override that does not have the form `key=value`; None if it does."""
    match = _SHAPE.fullmatch(override)
    if match is None or (not match["key"] and match["sign2"] != "="):
        return None if override.startswith("~") else f"{override}: found no '=', allowed: key=value, such as scale=2"
    if not match["key"]:
        return f"{override}: found no key before the '=', allowed: key=value, such as scale=2"
    if match["sign2"] != "=" and not (match["sign2"] == ":" and "=" in override):
        sign = match["sign2"].strip()
        what = "a ':'" if sign == ":" else "a '=='" if sign == "==" else "spaces around the '='"
        return f"{override}: found {what}, allowed: {match['sign'] or ''}{match['key']}={match['value']}"
    return None


def _wrong_value(override: str) -> str:
    key, _, value = override.partition("=")
    quoted = value.replace("'", "").replace('"', "")
    return (
        f"{key}: found {value!r}, whose brackets, quotes or other signs cannot be read; allowed: a value, a list "
        f"[a,b], a mapping {{a: b}}, or a text in quotes within the shell's, as in '{key}=\"{quoted}\"'"
    )


def _finding(name: str, overrides: list[str], base: DictConfig | None) -> str | None:
    """Explains what is wrong with the last override, if anything; `base` is the config of those before it, if known."""
    try:
        compose(name, overrides)
    except COMPOSITION_ERRORS as error:
        return _explain(name, overrides, error, base)
    return None


def _value_finding(name: str, overrides: list[str], base: DictConfig) -> str | None:
    """Like `_finding` for a value, but applied to the config of the others, which takes a tenth of composing anew."""
    try:
        (parsed,) = OverridesParser.create().parse_overrides(overrides[-1:])
        ConfigLoaderImpl._apply_overrides_to_config([parsed], copy.deepcopy(base))
    except COMPOSITION_ERRORS as error:
        return _explain(name, overrides, error, base)
    return None


def _explain(name: str, overrides: list[str], error: Exception, base: DictConfig | None) -> str:
    """Explains what is wrong with the last override."""
    said = str(error).partition("Config search path")[0]
    override = overrides[-1]
    key = override.lstrip("+~").partition("=")[0]
    if match := re.search(r"Could not override '([^']+)'", said):
        return _unknown_key(name, match[1], overrides, base)
    if "Could not delete from config" in said and "does not exist" in said:
        return _unknown_key(name, key, overrides, base)
    if match := re.search(r"Could not find '([^']+)/([^'/]+)'\s+Available options in '[^']+':((?:\s+\S+)*)", said):
        group, choice = match[1], match[2]
        if f"{group}/{choice}" == override.replace("=", "/", 1):
            group, _, choice = override.partition("=")
        return f"{group}: found {choice!r}, {_nearest_choice(group, choice, match[3].split())}"
    if "Config group override must be a string" in said:
        choices = sorted(path.stem for path in Path(conf_dir(), key).glob("*.yaml"))
        return f"{key}: found {override.partition('=')[2]}, allowed: {', '.join(choices)}"
    if "Could not append to config" in said or "Multiple values for" in said:
        return f"{override}: {key} is there already; allowed: {override.lstrip('+')}"
    return f"{override}: {summarise(error)}"


def _nearest_choice(group: str, choice: str, listed: list[str]) -> str:
    """Like `nearest`; Hydra does not list choices in subfolders, and our own choices outside of them are old names."""
    root = Path(conf_dir(), group)
    inner = sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.glob("*/*.yaml"))
    choices = inner + [name for name in listed if not (inner and (root / f"{name}.yaml").is_file())]
    close = difflib.get_close_matches(choice, choices, n=1, cutoff=0.6) or [
        name
        for found in difflib.get_close_matches(choice, [Path(name).name for name in choices], n=1, cutoff=0.6)
        for name in choices
        if Path(name).name == found
    ]
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return f"{hint}allowed: {', '.join(choices)}"


def _unknown_key(name: str, key: str, overrides: list[str], base: DictConfig | None) -> str:
    config = compose(name, overrides[:-1]) if base is None else copy.deepcopy(base)
    with flag_override(config, ["struct", "readonly"], False):
        config.pop("hydra", None)  # do not suggest its keys
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig):
        if missing := _missing_entry(key, config):
            return f"{key}: {missing}"
        if own := _similar_open_section(parent, leaf, config):
            return f"{key}: there is no section {parent!r}; did you mean '+{own}.{leaf}={_OPEN[own]}'?"
        groups = sorted(path.stem for path in Path(conf_dir(), parent).glob("*.yaml"))
        hint = f"{parent}=… chooses one, allowed: {', '.join(groups)}" if groups else suggest_key(key, config)
        if groups and leaf == "_target_":
            target = overrides[-1].partition("=")[2] or "…"
            hint = f"'{parent}={{_target_: {target}, …}}' names a class with its arguments, or {hint}"
        return f"{key}: there is no section {parent!r}; {hint}"
    with open_dict(node):
        accepted = parameters(str(node.get("_target_", ""))) or {}
    if parent in _OPEN or leaf in accepted:
        added = f"+{key}={_OPEN.get(parent, '…')}"
        return f"{key}: no such key in the config; allowed: {', or '.join([f'{added} to add it', *_names(node)])}"
    return f"{key}: no such key; {suggest_key(key, config)}"


def _missing_entry(key: str, config: DictConfig) -> str | None:
    """Explains a key inside an entry that a section of the user's own names lacks; None if that is not the mistake."""
    for section, added in _OPEN.items():
        name, _, rest = key.removeprefix(f"{section}.").partition(".")
        node = OmegaConf.select(config, section)
        if not key.startswith(f"{section}.") or not rest or not isinstance(node, DictConfig) or name in node:
            continue
        ways = [f"{section}={name}"] if Path(conf_dir(), section, f"{name}.yaml").is_file() else []
        close = difflib.get_close_matches(name, list(map(str, node)), n=1, cutoff=0.6)
        hint = f"did you mean {f'{section}.{close[0]}'!r}? " if close else ""
        ways += [*_names(node), f"a new one by +{section}.{name}={added}"]
        return f"there is no section {f'{section}.{name}'!r}; {hint}allowed: {', or '.join(ways)}"
    return None


def _similar_open_section(section: str, name: str, config: DictConfig) -> str | None:
    """Returns a section that is similar to a mistyped one, and to which the name can be added."""
    siblings = [known for known in _OPEN if known.count(".") == section.count(".") and known != section]
    close = difflib.get_close_matches(section, siblings, n=1, cutoff=0.75)
    node = OmegaConf.select(config, close[0]) if close else None
    return close[0] if isinstance(node, DictConfig) and name not in node else None


def _names(node: DictConfig) -> list[str]:
    """Returns the names in a section as one text, if there are any."""
    return [", ".join(map(str, node))] if node else []


def summarise(error: Exception) -> str:
    """Returns Hydra's message without references to its own documentation."""
    if isinstance(error, YAMLError):
        return describe_yaml_error(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Set the environment", "See https", "Config search path"))]
    return " ".join(lines[:4])
