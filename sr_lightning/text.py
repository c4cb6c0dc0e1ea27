"""Names and messages with nothing in them that a terminal would obey; file names may hold any character."""

from __future__ import annotations

import logging
import re

# Control characters but for line ends and tabs; those that turn the direction of writing; bytes that are no text.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Writes such characters as their escapes, `\x1b`; lines stay lines."""
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


class Formatter(logging.Formatter):
    """For log lines, which name files."""

    def format(self, record: logging.LogRecord) -> str:
        """As everywhere, and printable."""
        return printable(super().format(record))
