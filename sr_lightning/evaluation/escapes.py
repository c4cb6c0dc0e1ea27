"""Text inside Markdown, LaTeX and CSV that means nothing to the programs which read them."""

from __future__ import annotations

from typing import Any

from sr_lightning.text import single_line

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # and their full-width forms


def spreadsheet_cell(value: Any) -> Any:
    """A value of a CSV file that no spreadsheet takes for a formula: such a text begins with an apostrophe.

    Names of files, runs and training sets come from others, and a cell `=cmd|…` is run when the file is opened.
    """
    if not isinstance(value, str):
        return value
    text = single_line(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def markdown_text(text: str) -> str:
    """Text that means nothing to Markdown, HTML in it included."""
    text = single_line(text)
    for character in "\\`*_[]<>|":
        text = text.replace(character, f"\\{character}")
    return text


_LATEX = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
}


def latex_text(text: str) -> str:
    """Text that means nothing to TeX."""
    return "".join(_LATEX.get(character, character) for character in single_line(text))
