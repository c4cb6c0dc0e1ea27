"""Escaping of text for Markdown and LaTeX; for CSV see `text`."""

from __future__ import annotations

from sr_lightning.text import single_line


def markdown_text(text: str) -> str:
    """Escapes text for Markdown, including HTML in it."""
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
    """Escapes text for TeX."""
    return "".join(_LATEX.get(character, character) for character in single_line(text))
