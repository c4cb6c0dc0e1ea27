"""Messages about a config, collected so that all mistakes are reported at once."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from sr_lightning.config.containers import flattened
from sr_lightning.config.suggestions import suggest_key
from sr_lightning.errors import UserError
from sr_lightning.text import nearest

Schema = TypeVar("Schema")
_SHORT_LIST = 60  # length up to which a list of what is allowed may be repeated
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def fill_schema(
    schema: type[Schema], plain: dict[str, Any], findings: list[str], section: str = "", **given: Any
) -> Schema:
    """Fills a dataclass with the keys of a resolved config, or of one of its sections, as the first step of a check.

    Values stay as typed; the checks that follow validate and convert them.

    Args:
        schema: A dataclass whose fields are the keys.
        plain: The config as plain containers.
        findings: Receives a message for each key that the schema lacks.
        section: Dotted name of the section.
        given: Fields that are not keys.

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
    """Returns one message per unknown key; `section` is the dotted name of the section containing the keys."""
    prefix = f"{section}." if section else ""
    return [f"{prefix}{key}: no such key; {nearest(str(key), known)}" for key in keys if key not in known]


def lists_once(findings: Iterable[str]) -> list[str]:
    """Replaces a long list of what is allowed, where an earlier finding has ended with the same one."""
    shown: set[str] = set()
    found = []
    for finding in findings:
        said, marker, allowed = finding.rpartition("allowed: ")
        if allowed in shown:
            finding = said.rstrip() if said.endswith("? ") else f"{said}{marker}the same"
        shown |= {allowed} if len(allowed) > _SHORT_LIST else set()
        found.append(finding)
    return found


def without_copies(findings: Collection[str], config: DictConfig) -> list[str]:
    """Drops findings about keys that take over the value of another key, if that one has a finding itself.

    Args:
        findings: Messages that begin with their key.
        config: The composed config, with interpolations unresolved.
    """
    plain = OmegaConf.to_container(config, resolve=False)
    values = flattened(plain) if isinstance(plain, dict) else {}
    wrong = {finding.partition(":")[0] for finding in findings}

    def is_copy(key: str) -> bool:
        match = _REFERENCE.fullmatch(str(values.get(key)))
        return match is not None and (match[1] in wrong or is_copy(match[1]))

    return [finding for finding in findings if not is_copy(finding.partition(":")[0])]


def as_yaml(value: object) -> str:
    """Formats a value as in YAML: null, true, a quoted string."""
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


def refuse(findings: Collection[str]) -> None:
    """Raises a UserError with one line per finding, if there are any."""
    if findings:
        raise UserError("\n".join(lists_once(findings)))
