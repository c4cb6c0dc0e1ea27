"""Summaries of the commands, read from the first lines of their modules without importing them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def command_summaries() -> Iterator[tuple[str, str]]:
    """Yields name and summary of each command, from modules whose docstring begins with "Command `<name>`: "."""
    for path in sorted(Path(__file__).parents[1].glob("*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        opening, _, summary = docstring.partition("\n")[0].partition(": ")
        if opening == f"Command `{path.stem}`":
            yield path.stem, summary


def command_summary(name: str) -> str:
    """Returns the summary of one command; empty if it has none."""
    return dict(command_summaries()).get(name, "")
