"""Syntax of overrides: quoting of file names for Hydra's parser, and formatting of values as a user types them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from sr_lightning.config.conf_files import conf_dir
from sr_lightning.config.findings import as_yaml
from sr_lightning.config.schema import EXTRA_KEYS
from sr_lightning.text import single_line

Value = str | int | float | bool | None
"""Values that a key can be set to, other than lists and sections."""

# Keys whose values are names of files or folders, with any characters that a file system allows.
PATH_KEYS = re.compile(
    r"(ckpt_path|(checkpoint|predictions)(\.[^.]+)?|data\.train_dir|data\.train_lr_dir|data\.(val|test)\.[^.]+(\.(hr|lr))?"
    r"|data\.shards\.(folder|cache_dir)|input|output|runs(\.[^.]+)?"
    r"|paths\.\w+|preview\.output|check_data\.(output|folders)|model\.weights|loss\.perceptual\.weights"
    r"|hydra\.(run|sweep)\.dir)$"
)
# Texts that are something else without quotes: numbers, truth values, null.
_NO_TEXT = re.compile(
    r"[+-]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(e[+-]?\d[\d_]*)?|[+-]?(inf|nan)|true|false|null", re.IGNORECASE
)
_LONGEST = 2000  # characters of a network's arguments that are repeated in a message
_OVERRIDE = re.compile(r"(?P<key>[+~]{0,2}[^=]+)=(?P<value>.*)", re.DOTALL)


def quote_path(override: str, *, is_sweep: bool = False) -> str:
    """Quotes the value of a key that names a file, so that Hydra's grammar takes it literally.

    File names may contain spaces, `=`, commas, brackets and quotes, all of which have a meaning in Hydra.
    In a sweep a value with commas stays a choice, unless a file of that very name exists.
    """
    match = _OVERRIDE.fullmatch(override)
    if not match or not PATH_KEYS.match(match["key"].lstrip("+")):
        return override
    value = match["value"]
    if entries := _quote_entries(value):
        return f"{match['key']}={entries}"
    is_syntax = value in ("", "null") or "${" in value or value[0] in "\"'" or value[0] + value[-1] in ("{}", "[]")
    is_choice = is_sweep and "," in value
    if (is_syntax or is_choice) and not os.path.exists(value):
        return override
    return f"{match['key']}={_quote(value)}"


def empty_group(override: str) -> str:
    """Translates `adversarial=null`, an empty choice from a group, to Hydra's syntax for it, `adversarial=[]`."""
    key, _, value = override.partition("=")
    choices = value.split(",")
    if "null" not in choices or "/" in key or not Path(conf_dir(), key).is_dir():
        return override
    return f"{key}={','.join('[]' if choice == 'null' else choice for choice in choices)}"


def as_typed(overrides: list[str]) -> list[str]:
    """Returns overrides as the user typed them, without the deletions that let a mapping replace a section."""
    sections = [o[2:].partition("=")[0] for o in overrides if o.startswith("++") and "={" in o]
    shown = []
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if any(key.startswith(f"{section}.") for section in sections) and override.startswith(("~", "++")):
            continue
        shown.append(override[2:] if key in sections and override.startswith("++") else override)
    return shown


def _quote(value: str) -> str:
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"


def _quote_entries(value: str) -> str | None:
    """Quotes the folders in `{hr: a, lr: b/X{scale}}` and `[a/X{scale}, b]`; None if the value has another form."""
    if value.startswith("{") and value.endswith("}") and "},{" not in value.replace(" ", ""):
        parts = re.split(r"(?:^\{|,)\s*(hr|lr|files)\s*:\s*", value)
        if parts[0] or len(parts) < 3:
            return None
        parts[-1] = parts[-1].removesuffix("}")
        entries = zip(parts[1::2], parts[2::2], strict=True)
        return "{" + ", ".join(f"{name}: {_quote_text(text.strip())}" for name, text in entries) + "}"
    if value.startswith("[") and value.endswith("]") and "{" in value and "${" not in value:
        return "[" + ",".join(_quote_text(text.strip()) for text in value[1:-1].split(",")) + "]"
    return None


def _quote_text(text: str) -> str:
    """Quotes a text if it contains characters that Hydra's grammar might interpret."""
    is_plain = re.fullmatch(r"[\w./ -]*", text, re.ASCII) is not None
    return text if is_plain or text[0] in "\"'[{$" else _quote(text)


def as_typed_value(value: Value | Sequence[Any] | Mapping[str, Any]) -> str:
    """Formats a value, a list or a mapping in the grammar of overrides."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {as_typed_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(as_typed_value, value))}]"
    if isinstance(value, str):
        is_plain = re.fullmatch(r"[\w./+-]+", value, re.ASCII) is not None and not _NO_TEXT.fullmatch(value)
        return value if is_plain else "'" + value.replace("\\", "\\\\").replace("'", r"\'") + "'"
    if value is None or isinstance(value, bool):
        return as_yaml(value)
    if isinstance(value, int):
        return str(value)  # `1e+06` would be read back as a float
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def model_override(section: Mapping[str, Any]) -> str | None:
    """Returns the override that names a network, `model={_target_: mine.Net, scale: 4}`, not quoted for a shell.

    Args:
        section: Section `model` as plain containers, possibly from an untrusted file.

    Returns:
        The override; None if there is none that yields this section again, or only a very long one.
    """
    own = {key: value for key, value in section.items() if key not in EXTRA_KEYS["model"]}
    try:
        typed = f"model={as_typed_value(own)}"
        if len(typed) > _LONGEST or typed != single_line(typed):
            return None
        return typed if OverridesParser.create().parse_override(typed).value() == own else None
    except (HydraException, ValueError, OverflowError):
        return None
