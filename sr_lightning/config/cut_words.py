"""Detection of overrides split into several words by the shell, due to missing quotes or extra spaces."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from sr_lightning.config.conf_files import conf_dir
from sr_lightning.config.overrides import PATH_KEYS

_BRACKETS = {"{": "}", "[": "]", "(": ")"}
# Keys that a bare word may stand for; a command has at most one of them.
_OBJECTS = ("input", "runs", "checkpoint")


def take_cut(name: str, overrides: list[str]) -> tuple[list[str], list[str]]:
    """Finds words that were meant as one override.

    Args:
        name: The primary config.
        overrides: Overrides as typed.

    Returns:
        The findings, and the overrides that are not affected.
    """
    findings, rest = [], []
    position = 0
    while position < len(overrides):
        length, finding = _cut(name, overrides[position:])
        if finding:
            findings.append(finding)
        else:
            rest.append(overrides[position])
        position += length
    return findings, rest


def _cut(name: str, words: list[str]) -> tuple[int, str]:
    """Returns how many words belong together, and a message about them; empty if the first is complete by itself."""
    first = words[0]
    if len(words) > 1 and "=" in first and (path := _unquoted(first)) and _is_file(f"{path[1]} {words[1]}"):
        return 2, f"{path[0]}={path[1]} {words[1]}: found no quotes, allowed: '{path[0]}={path[1]} {words[1]}'"
    if "=" in first and (length := _until_closed(words)) > 1:
        whole = " ".join(words[:length])
        return length, f"{whole}: found no quotes around it; allowed: {_quoted(whole)}"
    if length := _around_sign(words):
        whole = "".join(words[:length])
        return length, f"{' '.join(words[:length])}: found spaces around the '=', allowed: {whole}"
    if "=" in first or ":" in first or first.startswith("~"):
        return 1, ""
    return 1, f"{first}: found no '='{_meant(name, first)}"


def _until_closed(words: list[str]) -> int:
    """Counts words until the brackets of the first are closed; 0 if they are closed already, or never."""
    opened = 0
    for count, word in enumerate(words, start=1):
        opened += sum(word.count(sign) for sign in _BRACKETS) - sum(word.count(sign) for sign in _BRACKETS.values())
        if opened <= 0:
            return count if count > 1 and opened == 0 else 0
    return 0


def _around_sign(words: list[str]) -> int:
    """Counts the words of `key = value`, `key= value` or `key =value`; 0 if the words have none of these forms."""
    for first, second in pairwise(words[:2]):
        if not first.strip("=") or ":" in first:
            return 0
        if second == "=":
            return min(3, len(words))
        if "=" not in first and second.startswith("=") and not second.startswith("=="):
            return 2
        if first.endswith("=") and first.count("=") == 1 and "=" not in second:
            return 2
    return 0


def _meant(name: str, word: str) -> str:
    """Returns what a bare word may stand for, as the end of a sentence."""
    if word in ("help", "usage", "h"):
        return "; did you mean --help?"
    keys = Path(conf_dir(), f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    known = next((key for key in _OBJECTS if any(line.startswith(f"{key}:") for line in keys)), None)
    if known is not None:
        return f", allowed: key=value, such as {known}={word}"
    if Path(word).is_dir():
        return f", allowed: key=value, such as data=folder data.train_dir={word}"
    return ", allowed: key=value, such as scale=2"


def _unquoted(override: str) -> tuple[str, str] | None:
    """Returns key and value if the value is a file name, without the quotes added around it."""
    key, _, value = override.partition("=")
    if not PATH_KEYS.match(key.lstrip("+")):
        return None
    return key, value[1:-1] if len(value) > 1 and value[0] == value[-1] == "'" else value


def _is_file(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # name too long
        return False


def _quoted(text: str) -> str:
    """Quotes a text for a shell."""
    return f"'{text}'" if "'" not in text else f'"{text}"'
