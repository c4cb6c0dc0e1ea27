"""Overrides as typed: quotes values that name files before Hydra parses them."""

from __future__ import annotations

import os
import re

# Keys whose values are names of files or folders, which may hold any character that a file system allows.
PATH_KEYS = re.compile(
    r"(ckpt_path|checkpoint(\.[^.]+)?|data\.train_dir|data\.train_lr_dir|data\.(val|test)\.[^.]+(\.(hr|lr))?"
    r"|data\.shards\.(folder|cache_dir)|input|output"
    r"|paths\.\w+|preview\.output|check_data\.(output|folders)|model\.weights|loss\.perceptual\.weights"
    r"|hydra\.(run|sweep)\.dir)$"
)
_OVERRIDE = re.compile(r"(?P<key>[+~]{0,2}[^=]+)=(?P<value>.*)", re.DOTALL)


def quote_path(override: str, *, is_sweep: bool = False) -> str:
    """Quotes the value of a key that names a file, so that Hydra's grammar leaves it as it is.

    File names may hold spaces, `=`, commas, brackets and quotes, all of which mean something to Hydra.
    In a sweep a value with commas stays a choice, unless a file of that very name exists.
    """
    match = _OVERRIDE.fullmatch(override)
    if not match or not PATH_KEYS.match(match["key"].lstrip("+")):
        return override
    value = match["value"]
    is_syntax = value in ("", "null") or "${" in value or value[0] in "\"'" or value[0] + value[-1] in ("{}", "[]")
    is_choice = is_sweep and "," in value
    if (is_syntax or is_choice) and not os.path.exists(value):
        return override
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"{match['key']}='{escaped}'"
