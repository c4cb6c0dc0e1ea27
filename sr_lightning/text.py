"""Text for people: printable names, paths as typed, the nearest known name, the first few of many, natural order."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Collection, Sequence
from pathlib import Path

# Control characters but for line ends and tabs; those that turn the direction of writing; bytes that are no text.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Writes such characters as their escapes, `\x1b`; lines stay lines."""
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


def nearest(name: str, allowed: Collection[str]) -> str:
    """What the writer of a mistyped name may have meant, as the end of a sentence."""
    close = difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(sorted(allowed)) or 'nothing'}"


def shown(path: Path) -> str:
    """A path as the user would type it: relative where it lies below the working folder."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def enumerated(names: Sequence[str], *, most: int = 10) -> str:
    """`a, b, c and 4 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def listed(lines: Sequence[str], *, most: int = 10, indent: str = "") -> str:
    """The first lines, each indented, and below them how many more there are."""
    more = [f"… and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join(f"{indent}{line}" for line in [*lines[:most], *more])


def natural_key(text: str) -> list[tuple[int, str]]:
    """Sorts numbers inside names by their value: `Set5` before `Set14`, `…_2` before `…_10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


class Formatter(logging.Formatter):
    """For log lines, which name files."""

    def format(self, record: logging.LogRecord) -> str:
        """As everywhere, and printable."""
        return printable(super().format(record))
