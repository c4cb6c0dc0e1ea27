"""Help for a command: `--help` in full, `--help=<key, section or group>` for a part, wrapped to the terminal."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from sr_lightning.cli.arguments import Arguments
from sr_lightning.config.compose import compose_choices
from sr_lightning.config.keys import Explainer, Key
from sr_lightning.config.suggestions import known_words, other_words, suggest_key
from sr_lightning.errors import UserError
from sr_lightning.text import printable, shell_lines

_LEFT = 30  # width of the column of keys
_WIDEST = 120
_SWEEP = ("-m", "a sweep: every combination of values with commas, one run each")
_FLAGS = (
    ("--help=<part>", "more about a key or a section; of a group, what each choice is"),
    ("--cfg job", "prints the config that a command line makes; nothing runs"),
    ("--config-dir=<folder>", "your own configs: <folder>/model/mine.yaml is model=mine"),
    ("--version", "the version of sr_lightning"),
    ("--hydra-help", "the flags of Hydra, which reads the command line"),
)


def take_help(typed: list[str]) -> tuple[str | None, list[str]]:
    """Removes `--help`, `--help=<part>` or `--help <part>` from a command line.

    Returns:
        The part (empty for full help, None if no help is requested), and the remaining arguments.
    """
    for i, word in enumerate(typed):
        flag, _, part = word.partition("=")
        if flag not in ("-h", "--help"):
            continue
        rest = typed[i + 1 :]
        if not part and rest and "=" not in rest[0] and not rest[0].startswith("-"):
            part, rest = rest[0], rest[1:]
        return part, [*typed[:i], *rest]
    return None, typed


def print_help(
    name: str, part: str, arguments: Arguments, *, check: Callable[..., Any], summary: str, sweeps: bool
) -> None:
    """Prints the help for a command.

    Args:
        name: One of `COMMANDS`.
        part: A key, a section or a group; empty for everything.
        arguments: The other arguments, whose overrides select what is shown: `model=rcan --help=model`.
        check: The command's config check.
        summary: One-line summary of the command.
        sweeps: Whether the command supports `-m`.

    Raises:
        UserError: The part does not exist, or an override does not compose.
    """
    config, chosen = compose_choices(
        name, arguments.overrides, config_dir=arguments.config_dir, config_name=arguments.config_name
    )
    explainer = Explainer(name, config, chosen, check, arguments.config_dir)
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    lines = _part(explainer, part, width) if part else _whole(explainer, summary, width, sweeps=sweeps)
    try:
        print(printable("\n".join(lines)), flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _whole(explainer: Explainer, summary: str, width: int, *, sweeps: bool) -> Iterator[str]:
    name = explainer.command
    program = f"python -m sr_lightning.{name}"
    script = f"sr-{name.replace('_', '-')}"
    yield from _wrapped(f"{program}, or {script}: {summary}", width)
    yield ""
    for line in explainer.examples():
        yield from shell_lines(line, width)
    yield ""
    words = ", ".join(known_words(explainer.plain))
    groups = ", groups by group=choice; both" if explainer.chosen else ","
    yield from _wrapped(
        f"Keys are set by key=value{groups} as shown below, with what stands there if nothing is typed (???: it must "
        "be typed)."
        + (f" Words of other tools ({words}, …) are answered with the key that is meant." if words else ""),
        width,
    )
    yield "\nFLAGS"
    for flag, text in (_SWEEP, *_FLAGS) if sweeps else _FLAGS:
        yield from _item(flag, text, width)
    yield from _item("tab completion", f'bash: eval "$({script} -sc install=bash)"', width)
    yield from _item(
        "", "zsh: in .zshrc, after compinit: autoload -Uz bashcompinit && bashcompinit; then as in bash", width
    )
    yield from ["", "GROUPS   (the first choice is in use)"] if explainer.chosen else []
    for group, choice in explainer.chosen.items():
        names = list(explainer.choices(group))
        ordered = [choice or "null", *(other for other in names if other != choice)]
        yield from _item(group, ", ".join(_short(ordered)), width)
    for section, keys in explainer.sections().items():
        yield ""
        yield from _section(explainer, section, keys, width)


def _short(choices: list[str]) -> list[str]:
    """If there are many choices, replaces those in each subfolder with their number."""
    folders: dict[str, list[str]] = {}
    for choice in choices[1:]:
        folder, _, _ = choice.rpartition("/")
        folders.setdefault(folder, []).append(choice)
    found = choices[:1]
    for folder, names in folders.items():
        found += names if not folder or len(choices) < 20 else [f"{folder}/… ({len(names)})"]
    return found


def _section(explainer: Explainer, section: str, keys: list[Key], width: int) -> Iterator[str]:
    choice = explainer.chosen.get(section)
    yield "KEYS" if not section else f"{section}={choice}" if choice else section
    if section and (text := explainer.about(section)):
        yield from _wrapped(text, width, indent=2)
    for key in keys:
        yield from _key(key, width)


def _part(explainer: Explainer, part: str, width: int) -> Iterator[str]:
    sections = explainer.sections()
    every = {key.name: key for keys in sections.values() for key in keys}
    if part in explainer.chosen:
        yield f"group {part}: {part}=<choice>"
        for choice, text in explainer.choices(part).items():
            mark = "   (in use)" if choice == explainer.chosen[part] else ""
            yield from _item(f"{choice}{mark}", text, width)
    if part in sections:
        yield from ["", *_section(explainer, part, sections[part], width)]
    elif part in every:
        below = [key for name, key in every.items() if name.startswith(f"{part}.")]
        for key in [every[part], *below]:
            yield from _key(key, width, whole=True)
        if words := other_words(part):
            yield from _wrapped(f"other tools call it {', '.join(words)}", width, indent=2)
    elif part not in explainer.chosen:
        raise UserError(f"--help={part}: no such key or group; {suggest_key(part, explainer.plain)}")


def _key(key: Key, width: int, *, whole: bool = False) -> Iterator[str]:
    text = key.text if whole else _first_sentence(key.text)
    shown = [key.kind] if key.kind and not _is_told(key.kind, text) else []
    right = "; ".join([*shown, *([text] if text else [])])
    yield from _item(key.name if key.value is None else f"{key.name}={key.value}", right, width)


def _is_told(kind: str, text: str) -> bool:
    """Whether a text already names all the choices."""
    choices = kind.replace(" or ", ", ").split(", ")
    return len(choices) > 1 and all(choice in text for choice in choices)


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0] if len(text) > 160 else text


def _item(left: str, text: str, width: int) -> Iterator[str]:
    """Lays out two columns; a left side that is too long gets lines of its own."""
    right = textwrap.wrap(text, width - _LEFT - 3, break_on_hyphens=False) or [""]
    if len(left) <= _LEFT - 1:
        yield f"  {left:<{_LEFT}} {right[0]}".rstrip()
        right = right[1:]
    else:
        yield from textwrap.wrap(left, width, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)
    yield from (f"  {'':<{_LEFT}} {line}" for line in right if line)


def _wrapped(text: str, width: int, *, indent: int = 0) -> list[str]:
    space = " " * indent
    return textwrap.wrap(text, width, initial_indent=space, subsequent_indent=space, break_on_hyphens=False)
