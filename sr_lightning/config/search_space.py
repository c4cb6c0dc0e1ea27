"""Search space of `tune`: ranges and choices of config keys, read from the section `search`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sr_lightning.config.conf_files import conf_dir
from sr_lightning.config.findings import as_yaml
from sr_lightning.config.overrides import Value, as_typed_value

_ALLOWED = "allowed: [low,high], [low,high,log], or choices such as [a,b,c] or [16,32,choice]"
_DIGITS = 4  # significant digits of sampled numbers, as the best command line is to be typed again


@dataclass(frozen=True)
class Range:
    """Range of numbers from `low` to `high`, both included; integers if both are ints."""

    low: float
    high: float
    is_log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether only integers are sampled."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def extremes(self) -> list[Value]:
        """Returns the values that are checked before the study begins."""
        return [self.low, self.high]

    def rounded(self, value: float) -> float:
        """Rounds a sampled value to few digits, staying inside the range."""
        return value if self.is_whole else min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Value, ...]

    def extremes(self) -> list[Value]:
        """Returns the values that are checked before the study begins: all of them."""
        return list(self.values)


Space = dict[str, Range | Choice]
"""Dotted key or group -> its range or choices."""


def parse_space(section: object, findings: list[str]) -> Space:
    """Parses the section `search` into ranges and choices.

    Args:
        section: The section, as plain containers.
        findings: Receives one message per invalid key.
    """
    space: Space = {}
    if not isinstance(section, dict) or not section:
        findings.append("search: nothing is searched; allowed: search=loss, or +search.loss.beta=[1e-4,1,log]")
        return space
    for key, entry in _leaves(section):
        found = _parse(entry)
        if isinstance(found, str):
            findings.append(f"search.{key}: found {as_yaml(entry)}, {found}")
        else:
            space[key] = found
    return space


def as_override(key: str, value: Value, *, is_new: bool = False) -> str:
    """Returns the override that sets a key to a value.

    Args:
        key: Dotted key, or a group.
        value: Value from its range or choices.
        is_new: Whether the key is not in the config; the section's class may accept it.
    """
    text = as_typed_value(value)
    return f"{'++' if is_new and not is_group(key) else ''}{key}={text}"


def is_group(key: str) -> bool:
    """Whether a key selects a file from a group, as `model` does."""
    return re.fullmatch(r"\w+", key) is not None and Path(conf_dir(), key).is_dir()


def space_as_plain(space: Space) -> dict[str, Any]:
    """Converts a space to its JSON form, to compare a study with a command."""
    return {
        key: list(entry.values) if isinstance(entry, Choice) else [entry.low, entry.high, *["log"] * entry.is_log]
        for key, entry in sorted(space.items())
    }


def _leaves(section: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, entry in section.items():
        if isinstance(entry, dict):
            yield from _leaves(entry, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", entry


def _parse(entry: Any) -> Range | Choice | str:
    """Returns the range or the choices, or a text that says what is allowed instead."""
    if not isinstance(entry, list) or len(entry) < 2:
        return _ALLOWED
    *values, last = entry
    if last == "choice":
        return _choice(values)
    is_log = last == "log"
    numbers = values if is_log else entry
    if len(numbers) == 2 and all(_is_number(number) for number in numbers):
        low, high = numbers
        if not low < high:
            return "allowed: the lower end first, and below the upper"
        if is_log and low <= 0:
            return "allowed: with log, a lower end above 0"
        return Range(low, high, is_log)
    return _ALLOWED if is_log else _choice(entry)


def _choice(values: list[Any]) -> Choice | str:
    if len(values) < 2 or not all(isinstance(value, str | int | float | bool | None) for value in values):
        return "allowed: choices, two at least, that are texts, numbers, true, false or null"
    if len({repr(value) for value in values}) < len(values):
        return "allowed: choices that differ"
    return Choice(tuple(values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
