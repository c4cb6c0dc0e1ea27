"""What differs between the configs of trainings, under short names; repeats that differ in their seed alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sr_lightning.report.entries import NO_PROTOCOL, Entry
from sr_lightning.text import single_line

# Where files lie, how often something is shown, what else is logged: none of it changes the network that comes out.
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
_LONGEST = 40  # characters of a value


def differing(entries: Sequence[Entry]) -> list[str]:
    """The dotted keys in which these trainings differ, in the order of their configs.

    Of a section that is another class in some of them only the class counts: its other keys differ of course.
    """
    known = [entry.settings for entry in entries if entry.settings]
    keys = [key for key in dict.fromkeys(key for settings in known for key in settings) if not _is_aside(key)]
    found = [key for key in keys if len({_plain(settings.get(key)) for settings in known}) > 1]
    classes = [key.removesuffix("_target_") for key in found if key.endswith("_target_")]
    return [key for key in found if key.endswith("_target_") or not any(key.startswith(section) for section in classes)]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """`loss.beta` -> `beta`, with as much of what stands before as tells it from the others."""
    parts = {key: key.removesuffix("._target_").split(".") for key in keys}
    names = {}
    for key, own in parts.items():
        others = [other for name, other in parts.items() if name != key]
        length = next((n for n in range(1, len(own)) if all(own[-n:] != other[-n:] for other in others)), len(own))
        names[key] = single_line(".".join(own[-length:]))
    return names


def shown_value(settings: Mapping[str, Any], key: str) -> str:
    """A value as a table shows it: a class without its package, a long text cut."""
    if key not in settings:
        return ""
    value = settings[key]
    if isinstance(value, str) and "${" in value:
        return "default"  # it follows another key
    text = value.rpartition(".")[2] if key.endswith("_target_") and isinstance(value, str) else _plain(value)
    text = single_line(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def repeats(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries together that differ in their seed alone; all others by themselves, in their order."""
    groups: dict[Any, list[Entry]] = {}
    for i, entry in enumerate(entries):
        groups.setdefault(_identity(entry, i), []).append(entry)
    found: list[list[Entry]] = []
    for group in groups.values():
        seeds = {entry.seed for entry in group}
        # The same seed twice is the same training twice, and no second draw.
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
    """Values as texts: equal ones alike, whether a config says 0 or 0.0."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int | float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str, sort_keys=True)
