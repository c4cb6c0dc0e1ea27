"""Text output: printable names, paths as typed or cut short, nearest names, short lists, natural order, tables."""

from __future__ import annotations

import codecs
import difflib
import io
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

_NARROWEST = 8  # minimum width of a column of names, in cells
_BETWEEN = 2  # cells between columns
# Control characters except line ends and tabs; bidirectional controls; surrogates, which are not valid text.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # and their full-width forms

# Replacements for characters missing from an encoding: …, ±, x, dashes, arrows, lines and bars.
_ASCII = {
    "\u2026": "...",
    "\u00b1": "+-",
    "\u00d7": "x",
    "\u2013": "-",
    "\u2014": "-",
    "\u2192": "->",
    "\u2191": "^",
    "\u2193": "v",
    "\u2500": "-",
    "\u2502": "|",
    "\u2501": "-",
    "\u2578": "-",
    "\u257a": "-",
    "\u2588": "#",
}
_HANDLER = "sr_lightning.ascii"


def printable(text: str) -> str:
    r"""Escapes characters that would control a terminal, as in `\x1b`; line breaks are kept."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def single_line(text: str | Path) -> str:
    r"""Like `printable`, but also escapes line breaks and tabs, so that a name cannot start a new line or cell."""
    return re.sub("[\n\t\u2028\u2029]", lambda found: ascii(found[0])[1:-1], printable(str(text)))


def spreadsheet_cell(value: Any) -> Any:
    """Returns a CSV value that spreadsheets do not interpret as a formula, by prefixing an apostrophe if needed.

    Names of files, runs and training sets come from others, and a cell `=cmd|…` would be run when the file is opened.
    """
    if not isinstance(value, str):
        return value
    text = single_line(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def short_keys(keys: Sequence[str]) -> list[str]:
    """Shortens dotted keys by the sections not needed to tell them apart: `loss.beta` becomes `beta`."""
    parts = [key.split(".") for key in keys]
    found = []
    for own in parts:
        length = 1
        while length < len(own) and sum(other[-length:] == own[-length:] for other in parts) > 1:
            length += 1
        found.append(".".join(own[-length:]))
    return found


def nearest(name: str, allowed: Collection[str]) -> str:
    """Suggests what a mistyped name may have meant, as the end of a sentence."""
    close = difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(sorted(allowed)) or 'nothing'}"


def shown(path: Path) -> str:
    """Returns a path as the user would type it: relative if it is below the working folder."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def unique_length(path: str, paths: Sequence[str]) -> int:
    """Returns the number of trailing components that tell an absolute path from all others."""
    parts = path.split(os.sep)
    rest = [other.split(os.sep) for other in paths if other != path]
    return next((n for n in range(1, len(parts)) if all(other[-n:] != parts[-n:] for other in rest)), len(parts))


def shell_lines(command: str, width: int | None = None) -> list[str]:
    """Returns a command line as indented lines, folded with shell continuations between words, never inside quotes.

    Args:
        command: The command line, as typed.
        width: Width in cells; None for the terminal's; without a terminal (a log file, a pipe) it is not folded.
    """
    if width is None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    lines = [" "]
    for word in re.findall(r"""(?:'[^']*'|"[^"]*"|[^\s'"]|['"])+""", command):
        if lines[-1].strip() and len(lines[-1]) + 1 + len(word) > width - 2:  # two cells for the backslash
            lines[-1] += " \\"
            lines.append("     ")
        lines[-1] += f" {word}"
    return lines


def counted(n: int, noun: str) -> str:
    """Formats a number of things: `1 image`, `1000 images`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def enumerated(names: Sequence[str], *, most: int = 10) -> str:
    """Formats names as `a, b, c and 4 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def listed(lines: Sequence[str], *, most: int = 10, indent: str = "") -> str:
    """Formats the first lines, indented, followed by the number of remaining ones."""
    more = [f"… and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join(f"{indent}{line}" for line in [*lines[:most], *more])


def natural_key(text: str) -> list[tuple[int, str]]:
    """Returns a sort key that orders numbers in names by value: `Set5` before `Set14`, `…_2` before `…_10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


LOG_ONLY = {"is_for_log": True}
"""`log.info(…, extra=LOG_ONLY)`: written to the run's log, but not to the screen."""


def is_for_screen(record: logging.LogRecord) -> bool:
    """Filters the records of handlers that write to the screen."""
    return not getattr(record, "is_for_log", False)


def screen_filter() -> Callable[[logging.LogRecord], bool]:
    """Returns `is_for_screen`, in the form required by `logging.config`."""
    return is_for_screen


class Formatter(logging.Formatter):
    """Log formatter that prevents file names from controlling a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record as usual, then makes it printable."""
        return printable(super().format(record))


def tolerate_encodings() -> None:
    """Replaces characters missing from the terminal's encoding (…, ±, table lines), instead of raising an error."""
    codecs.register_error(_HANDLER, _replace_in_error)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _replace_in_error(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_as_ascii, error.object[error.start : error.end])), error.end


def _encodable(text: str, encoding: str) -> str:
    """Returns a text as shown on a stream with this encoding."""
    kept = {character for character in text if character.encode(encoding, "ignore")}
    return "".join(character if character in kept else _as_ascii(character) for character in text)


def _as_ascii(character: str) -> str:
    return _ASCII.get(character, ascii(character)[1:-1])


@dataclass(frozen=True)
class Row:
    """One row of a `Table`."""

    cells: Sequence[str]
    style: str
    ends_section: bool


def fold(text: str, width: int) -> list[str]:
    """Breaks a text into lines of at most `width` cells, after spaces and slashes if possible."""
    from rich.cells import cell_len, chop_cells

    lines = [""]
    for word in re.split(r"(?<=[\s/])", text):
        parts = [word] if cell_len(word.rstrip()) <= width else re.split(r"(?<=[=,_:-])", word)
        for part in parts:
            if cell_len(lines[-1] + part.rstrip()) <= width:
                lines[-1] += part
            else:
                lines += chop_cells(part, width)
    return [line.rstrip() for line in lines if line.strip()] or [""]


@dataclass
class Table:
    """A table for the terminal, as a rich renderable: figures are never cut off, names continue on further lines.

    If the terminal is too narrow for its columns, each row becomes a paragraph. Cells are shown verbatim: neither
    markup nor control characters are interpreted.

    Args:
        columns: Column headers.
        figures: The columns that contain figures, which are right-aligned.
    """

    columns: Sequence[str]
    figures: Collection[str] = ()
    rows: list[Row] = field(default_factory=list)

    def add(self, *cells: str, style: str = "", ends_section: bool = False) -> None:
        """Adds a row.

        Args:
            cells: One text per column.
            style: Rich style, such as `dim italic`.
            ends_section: Whether an empty line follows.
        """
        self.rows.append(Row([printable(cell) for cell in cells], style, ends_section))

    def show(self) -> None:
        """Prints the table."""
        from rich.console import Console

        Console().print(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Renders the table, or paragraphs if it is too wide."""
        table = self if options.encoding.startswith("utf") else self._in_encoding(options.encoding)
        widths = table._widths(options.max_width)
        yield from table._paragraphs(options.max_width) if widths is None else table._table(widths)

    def _in_encoding(self, encoding: str) -> Table:
        """Replaces characters that the terminal lacks, before measuring columns, as the replacements may be wider."""
        rows = [
            Row([_encodable(cell, encoding) for cell in row.cells], row.style, row.ends_section) for row in self.rows
        ]
        return Table(self.columns, self.figures, rows)

    def _widths(self, available: int) -> list[int] | None:
        """Returns the width of each column in cells; None if there is not enough space."""
        from rich.cells import cell_len

        widths = [
            max(cell_len(line) for text in (name, *(row.cells[i] for row in self.rows)) for line in text.split("\n"))
            for i, name in enumerate(self.columns)
        ]
        names = [i for i, name in enumerate(self.columns) if name not in self.figures]
        least = {i: min(widths[i], max(_NARROWEST, cell_len(self.columns[i]))) for i in names}
        excess = sum(widths) + _BETWEEN * (len(widths) - 1) - available
        while excess > 0 and (wide := [i for i in names if widths[i] > least[i]]):
            widths[max(wide, key=lambda i: widths[i])] -= 1
            excess -= 1
        return widths if excess <= 0 else None

    def _table(self, widths: list[int]) -> Iterator[RenderableType]:
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
        for name, width in zip(self.columns, widths, strict=True):
            table.add_column(Text(name), width=width, justify="right" if name in self.figures else "left", no_wrap=True)
        for row in self.rows:
            cells = ["\n".join(fold(cell, width)) for cell, width in zip(row.cells, widths, strict=True)]
            table.add_row(*map(Text, cells), style=row.style, end_section=row.ends_section)
        yield table

    def _paragraphs(self, width: int) -> Iterator[RenderableType]:
        from rich.cells import cell_len
        from rich.text import Text

        for row in self.rows:
            cells = dict(zip(self.columns, row.cells, strict=True))
            names = [cell for name, cell in cells.items() if cell and name not in self.figures]
            lines, line = fold("  ".join(names), width), ""
            for name, cell in cells.items():
                item = f"{name} {cell}"
                if not cell or name not in self.figures:
                    continue
                if line and cell_len(f"  {line}, {item},") > width:
                    lines.append(f"  {line},")
                    line = ""
                if cell_len(f"  {item},") > width:  # header on a line of its own, rather than a figure cut off
                    lines.append(f"  {name}")
                    item = cell
                line = f"{line}, {item}" if line else item
            lines += [f"  {line}"] if line else []
            yield Text("\n".join(lines), style=row.style)
            if row.ends_section:
                yield Text()
