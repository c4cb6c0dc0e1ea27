"""Command table: `python -m sr_lightning` prints a line for each command, without importing any of them."""

from __future__ import annotations

import ast
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sr_lightning.text import nearest, printable

_PROGRAM = "python -m sr_lightning"


def commands() -> Iterator[tuple[str, str]]:
    """Name and summary of each command: the modules beside this one that begin with "Command `<name>`: "."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        opening, _, summary = docstring.partition("\n")[0].partition(": ")
        if opening == f"Command `{path.stem}`":
            yield path.stem, summary


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table.

    Args:
        argv: What the user typed, without the program's name; None for `sys.argv`.

    Returns:
        The exit status: 2 where something else than help was asked for.
    """
    typed = list(sys.argv[1:] if argv is None else argv)
    found = dict(commands())
    if typed and typed[0] not in ("-h", "--help"):
        if typed[0] in found:
            message = f"found {typed[0]!r}, allowed: {_PROGRAM}.{shlex.join(typed)}"
        else:
            message = f"there is no command {typed[0]!r}; {nearest(typed[0], found)}"
        print(printable(f"{_PROGRAM}: the input is wrong\n  {message}"), file=sys.stderr)
        return 2
    print("Commands; each explains itself with --help:\n")
    for name, summary in found.items():
        print(f"  {_PROGRAM}.{name:<{max(map(len, found))}}  {summary}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
