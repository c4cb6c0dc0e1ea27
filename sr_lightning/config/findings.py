"""Messages about a config, collected so that the user learns of all mistakes at once."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from sr_lightning.config.suggestions import suggest_key
from sr_lightning.errors import UserError
from sr_lightning.text import nearest

Schema = TypeVar("Schema")


def fill_schema(
    schema: type[Schema], plain: dict[str, Any], findings: list[str], section: str = "", **given: Any
) -> Schema:
    """Opens a check: the keys of a resolved config, or of a section of it, become the fields of its dataclass.

    Values stay as they were typed; what follows judges and converts them.

    Args:
        schema: A dataclass whose fields are the keys.
        plain: Plain containers.
        findings: Receives a message for each key that the schema lacks.
        section: The section's dotted name.
        given: Fields that are no keys.

    Raises:
        UserError: A key without a default is missing; the message lists all findings.
    """
    keys = {
        field.name: field.default is field.default_factory is MISSING
        for field in fields(schema)  # type: ignore[arg-type]  # TypeVar has no bound for dataclasses
        if field.name not in given
    }
    prefix = f"{section}." if section else ""
    findings += [f"{prefix}{key}: no such key; {suggest_key(key, plain)}" for key in plain if key not in keys]
    if missing := [key for key, is_required in keys.items() if is_required and key not in plain]:
        refuse([*findings, *(f"{prefix}{key}: must be given" for key in sorted(missing))])
    return schema(**{key: value for key, value in plain.items() if key in keys}, **given)


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
