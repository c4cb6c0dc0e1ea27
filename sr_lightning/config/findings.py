"""Messages about a config, collected so that the user learns of all mistakes at once."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from sr_lightning.errors import UserError
from sr_lightning.text import nearest


def unknown_keys(keys: Iterable[object], known: Collection[str], section: str = "") -> list[str]:
    """One message for each key that is not known; `section` is the dotted name of what they stand in."""
    prefix = f"{section}." if section else ""
    return [f"{prefix}{key}: no such key; {nearest(str(key), known)}" for key in keys if key not in known]


def as_yaml(value: object) -> str:
    """A value as YAML writes it: null, true, a text in quotes."""
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


def refuse(findings: Collection[str]) -> None:
    """Raises a UserError with a line for each finding, where there are any."""
    if findings:
        raise UserError("\n".join(findings))
