"""Differences between training configs, under short names, and grouping of runs that differ only in their seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sr_lightning.report.entries import NO_PROTOCOL, Entry
from sr_lightning.text import short_keys, single_line

# File locations, display intervals, logging: none of these affect the trained network.
_ASIDE = ("paths", "logger", "callbacks", "ckpt_path", "allow_change", "compile", "seed", "data.seed", "experiment")
_ASIDE_ENDS = (
    ".num_workers",
    ".worker_timeout",
    ".cache_dir",
    ".devices",
    ".accelerator",
    ".log_every_n_steps",
    ".val_check_interval",
)
_LONGEST = 40  # maximum characters of a value


def differing(entries: Sequence[Entry]) -> list[str]:
    """Returns the dotted keys in which trainings differ, in the order of their configs.

    Where a section has different classes, only the class counts: its other keys differ necessarily.
    """
    known = [entry.settings for entry in entries if entry.settings]
    keys = [key for key in dict.fromkeys(key for settings in known for key in settings) if not _is_aside(key)]
    found = [key for key in keys if len({_plain(settings.get(key)) for settings in known}) > 1]
    classes = [key.removesuffix("_target_") for key in found if key.endswith("_target_")]
    return [key for key in found if key.endswith("_target_") or not any(key.startswith(section) for section in classes)]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Shortens `loss.beta` -> `beta`, keeping as many leading parts as needed for uniqueness."""
    short = short_keys([key.removesuffix("._target_") for key in keys])
    return {key: single_line(name) for key, name in zip(keys, short, strict=True)}


def shown_value(settings: Mapping[str, Any], key: str) -> str:
    """Formats a value for a table: classes without their package, long texts truncated."""
    if key not in settings:
        return ""
    value = settings[key]
    if isinstance(value, str) and "${" in value:
        return "default"  # it refers to another key
    text = value.rpartition(".")[2] if key.endswith("_target_") and isinstance(value, str) else _plain(value)
    text = single_line(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def repeats(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Groups entries that differ only in their seed; all others stay alone; in the original order."""
    groups: dict[Any, list[Entry]] = {}
    for i, entry in enumerate(entries):
        groups.setdefault(_identity(entry, i), []).append(entry)
    found: list[list[Entry]] = []
    for group in groups.values():
        seeds = {entry.seed for entry in group}
        # The same seed twice is a repeated training, not an independent draw.
        found += [group] if len(seeds) == len(group) and None not in seeds else [[entry] for entry in group]
    return found


def _identity(entry: Entry, number: int) -> Any:
    if entry.status != "done":
        return number
    if not entry.is_training:
        return (str(entry.folder), entry.method) if entry.seed is not None else number
    settings = {key: _plain(value) for key, value in entry.settings.items() if not _is_aside(key)}
    return json.dumps([settings, {key: text for key, text in entry.protocol.items() if key not in NO_PROTOCOL}])


def _is_aside(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in _ASIDE) or key.endswith(_ASIDE_ENDS)


def _plain(value: Any) -> str:
    """Normalises values to text, so that equal values compare equal, whether written 0 or 0.0."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int | float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str, sort_keys=True)
