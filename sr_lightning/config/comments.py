"""Comments of the YAML files in `conf/`, read from their text: meanings of keys, and examples at the head."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path

_EXAMPLE = re.compile(r"(?:[A-Z_]+=\S+ )?python -m sr_lightning\.")
_ENTRY = re.compile(r"(?P<indent> *)(?P<key>[\w.-]+):(?=\s|$)(?P<rest>.*)")
_COMMENT = re.compile(r"(?:^|\s)# ?(?P<text>[^\n]*)$")


@dataclass
class FileComments:
    """Content of the comments in one file."""

    about: str = ""
    """The paragraph at the head."""
    examples: list[str] = field(default_factory=list)
    """Command lines at the head, and those of `hydra.help.footer`."""
    keys: dict[str, str] = field(default_factory=dict)
    """Dotted key -> its comment, including comment lines above it."""


@functools.cache
def read_comments(path: Path) -> FileComments:
    """Reads the comments of a file.

    A comment belongs to the key on its line. Comment-only lines continue it if they are indented that far, and
    otherwise belong to the key below them.

    Args:
        path: A YAML file in block style, like those of `conf/`.
    """
    found = FileComments()
    lines = path.read_text(encoding="utf-8").splitlines()
    n_head = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    head = [line.lstrip("# ") for line in lines[:n_head] if "@package" not in line]
    found.examples = [line for line in head if _EXAMPLE.match(line)]
    found.about = " ".join(line for line in head if not _EXAMPLE.match(line))
    _read_keys(lines[n_head:], found)
    return found


def _read_keys(lines: list[str], found: FileComments) -> None:
    parents: list[tuple[int, str]] = []
    above: list[str] = []
    last, column = "", 0
    for line in lines:
        if (entry := _ENTRY.fullmatch(line)) is None:
            text = line.strip()
            if not text.startswith("#"):
                found.examples += [text] if _EXAMPLE.match(text) and text not in found.examples else []
                above = [] if not text else above
            elif last and column and line.index("#") >= column - 1:
                found.keys[last] = f"{found.keys[last]} {text.lstrip('# ')}"
            else:
                above.append(text.lstrip("# "))
            continue
        indent = len(entry["indent"])
        parents = [(depth, name) for depth, name in parents if depth < indent]
        last = ".".join([*(name for _, name in parents), entry["key"]])
        parents.append((indent, entry["key"]))
        comment = _COMMENT.search(entry["rest"])
        column = line.index("#", len(line) - len(entry["rest"]) + comment.start()) if comment else 0
        texts = [*above, comment["text"].strip()] if comment else above
        above = []
        if texts:
            found.keys[last] = " ".join(texts)
