"""Command table: `python -m sr_lightning` lists all commands, without importing any of them."""

from __future__ import annotations

import shlex
import shutil
import sys
import textwrap
from collections.abc import Sequence

from sr_lightning import __version__
from sr_lightning.cli.command_table import command_summaries
from sr_lightning.text import nearest, printable

_PROGRAM = "python -m sr_lightning"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the command table.

    Args:
        argv: Command line without the program's name; None for `sys.argv`.

    Returns:
        The exit status: 2 if anything other than help was requested.
    """
    typed = list(sys.argv[1:] if argv is None else argv)
    found = dict(command_summaries())
    if typed == ["--version"]:
        print(f"sr_lightning {__version__}")
        return 0
    if typed and typed[0] not in ("-h", "--help"):
        if typed[0] in found:
            message = f"found {typed[0]!r}, allowed: {_PROGRAM}.{shlex.join(typed)}"
        else:
            message = f"there is no command {typed[0]!r}; {nearest(typed[0], found)}"
        print(printable(f"{_PROGRAM}: the input is wrong\n  {message}"), file=sys.stderr)
        return 2
    width = shutil.get_terminal_size().columns
    print(f"sr_lightning {__version__}: image super-resolution with PyTorch Lightning and Hydra\n")
    for name, summary in found.items():
        left = f"  {_PROGRAM}.{name:<{max(map(len, found))}}  "
        space = " " * len(left)
        print(textwrap.fill(summary, max(width, len(left) + 20), initial_indent=left, subsequent_indent=space))
    print(
        "\nEach explains itself with --help, and a part of itself with --help=<part>.\n"
        "Once installed they are called sr-train, sr-evaluate, …, too."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
