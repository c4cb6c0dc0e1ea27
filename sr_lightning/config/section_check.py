"""Check of a `_target_` section against the signature of its constructor."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from typing import Any

from sr_lightning.config.findings import as_yaml
from sr_lightning.config.signatures import Parameter, is_importable, parameters, similar_name
from sr_lightning.config.suggestions import suggest_argument
from sr_lightning.config.type_check import TypeMismatch, convert


def check_section(
    section: dict[str, Any],
    key: str,
    findings: list[str],
    *,
    extra: dict[str, str] | None = None,
    given: Collection[str] = (),
) -> None:
    """Checks a `_target_` section and those nested in it against their constructors, converting values in place.

    Args:
        section: The section as plain containers.
        key: Dotted key of the section, for messages.
        findings: Receives one message per mistake.
        extra: Keys that the project adds to the constructor's, with their annotations as text.
        given: Arguments added by the builder: they may be missing, and imply `_partial_`.
    """
    target = section.get("_target_")
    if not isinstance(target, str):
        findings.append(f"{key}._target_: found {target!r}, allowed: the dotted name of a class")
        return
    accepted = parameters(target)
    if accepted is None:
        findings.extend(_unknown_target(target, f"{key}._target_"))
        return  # a third-party class checks its arguments when it is built
    accepted = accepted | {
        name: Parameter(name, ast.parse(text, mode="eval").body, required=False, module="builtins")
        for name, text in (extra or {}).items()
    }
    for name, value in section.items():
        if name.startswith("_") and name.endswith("_"):
            continue
        if name not in accepted:
            findings.append(f"{key}.{name}: no such key; {suggest_argument(name, accepted)}")
        elif isinstance(value, dict) and "_target_" in value:
            check_section(value, f"{key}.{name}", findings)
        else:
            section[name] = check_value(value, accepted[name], f"{key}.{name}", findings)
    if given or not section.get("_partial_"):
        missing = [
            name for name, parameter in accepted.items() if parameter.required and name not in {*section, *given}
        ]
        findings.extend(f"{key}.{name}: must be given" for name in missing)


def _unknown_target(target: str, key: str) -> Iterator[str]:
    """Yields what is wrong with a name whose signature cannot be read, if anything."""
    module = target.partition(".")[0]
    if target.startswith("sr_lightning."):
        yield f"{key}: {target!r} is not in this version of sr_lightning"
    elif not is_importable(module):
        yield (
            f"{key}: found {target!r}, but no module {module!r}; allowed: one in the working folder, in a folder of "
            "PYTHONPATH, or installed"
        )
    elif similar := similar_name(target):
        yield f"{key}: found {target!r}, did you mean {similar!r}?"


def check_value(value: Any, parameter: Parameter, key: str, findings: list[str]) -> Any:
    """Like `convert`, but a mismatch is added to the findings under the key."""
    try:
        return convert(value, parameter.annotation, parameter.module)
    except TypeMismatch as mismatch:
        findings.append(f"{key}: found {as_yaml(value)}, allowed: {mismatch}".replace("allowed: did", "did"))
        return value
