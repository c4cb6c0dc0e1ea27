"""Does a value of a config fit the annotation of a constructor's argument? Decided without importing it."""

from __future__ import annotations

import ast
import math
from collections.abc import Collection
from typing import Any

from sr_lightning.config.signatures import Parameter, find_definition, parameters
from sr_lightning.text import nearest

_SEQUENCES = {"list", "tuple", "Sequence", "Iterable", "Collection"}
_MAPPINGS = {"dict", "Mapping"}
_SCALARS = {"bool", "int", "float", "str", "Any", "None"}


class Mismatch(Exception):
    """The value does not fit; the text says what would."""


def fit(value: Any, annotation: ast.expr | None, module: str) -> Any:
    """Converts a config value to what an annotation asks for.

    A whole float fits an int (`max_steps=1e5`), an int fits a float, a list fits a tuple. Names that are
    neither builtin nor an alias that can be looked up accept everything: the constructor will judge.

    Args:
        value: A plain value: None, bool, int, float, str, list or dict.
        annotation: The annotation's syntax tree; None accepts everything.
        module: Dotted name of the module in which the annotation's names are looked up.

    Returns:
        The value, converted where the rules above say so.

    Raises:
        Mismatch: It does not fit; the message says what is allowed.
    """
    if isinstance(annotation, ast.Constant):
        return _fit_constant(value, annotation, module)
    if isinstance(annotation, ast.BinOp):
        return _fit_union(value, [annotation.left, annotation.right], module)
    if isinstance(annotation, ast.Name):
        return _fit_name(value, annotation.id, module)
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name):
        return _fit_generic(value, annotation.value.id, annotation.slice, module)
    if isinstance(annotation, ast.Attribute) and annotation.attr == "Module":  # nn.Module
        raise Mismatch("a section with a _target_")  # sections are looked into by `check_target`
    return value


def _fit_constant(value: Any, annotation: ast.Constant, module: str) -> Any:
    if annotation.value is None:
        if value is not None:
            raise Mismatch("null")
        return value
    if isinstance(annotation.value, str):  # a quoted annotation
        return fit(value, ast.parse(annotation.value, mode="eval").body, module)
    return value


def _fit_union(value: Any, options: list[ast.expr], module: str) -> Any:
    known = [option for option in options if not _is_opaque(option, module)]
    # `float | Tensor` in a config means a number: the class would accept anything else that is written there.
    if known and isinstance(value, bool | int | float | str | None):
        options = known
    allowed = []
    for option in options:
        try:
            return fit(value, option, module)
        except Mismatch as mismatch:
            allowed.append(str(mismatch))
    raise Mismatch(" or ".join(dict.fromkeys(allowed)))


def _is_opaque(annotation: ast.expr, module: str) -> bool:
    """A class that is not looked into."""
    if not isinstance(annotation, ast.Name) or annotation.id in {*_SCALARS, *_SEQUENCES, *_MAPPINGS}:
        return False
    found = find_definition(module, annotation.id)
    return found is None or not isinstance(found[1], ast.Assign)


def _fit_name(value: Any, name: str, module: str) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "bool" and not isinstance(value, bool):
        raise Mismatch("true or false")
    if name == "int":
        if not is_number or not math.isfinite(value) or value != int(value):
            raise Mismatch("a whole number")
        return int(value)
    if name == "float":
        if not is_number or not math.isfinite(value):
            raise Mismatch("a finite number")
        return float(value)
    if name == "str" and not isinstance(value, str):
        raise Mismatch("a text")
    if name in _SEQUENCES | _MAPPINGS:
        return _fit_generic(value, name, ast.Tuple(elts=[]), module)
    return value if name in _SCALARS else _fit_defined(value, name, module)


def _fit_defined(value: Any, name: str, module: str) -> Any:
    """A name that a module defines or imports."""
    where, node = find_definition(module, name) or (module, None)
    if isinstance(node, ast.Assign):  # an alias such as Kernel = Literal[...]
        return fit(value, node.value, where)
    if isinstance(node, ast.ClassDef) and where.startswith("sr_lightning."):
        raise Mismatch("a section with a _target_")  # our own classes are not made from plain values
    return value


def _fit_generic(value: Any, name: str, inner: ast.expr, module: str) -> Any:
    arguments = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name == "Literal":
        choices = [a.value for a in arguments if isinstance(a, ast.Constant)]
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            shown = ", ".join(str(choice) for choice in choices)
            hint = nearest(value, [c for c in choices if isinstance(c, str)]) if isinstance(value, str) else ""
            raise Mismatch(hint.removeprefix("allowed: ") or f"one of {shown}")
        return value
    if name == "Callable":
        raise Mismatch("a section with a _target_")
    if name in ("Optional", "Union"):
        return _fit_union(value, [*arguments, *([ast.Constant(None)] if name == "Optional" else [])], module)
    if name in _SEQUENCES:
        return _fit_sequence(value, name, arguments, module)
    if name in _MAPPINGS:
        if not isinstance(value, dict):
            raise Mismatch("a mapping {key: value}")
        item = arguments[1] if len(arguments) == 2 else None
        return {key: fit(entry, item, module) for key, entry in value.items()}
    return value


def _fit_sequence(value: Any, name: str, arguments: list[ast.expr], module: str) -> Any:
    if not isinstance(value, list | tuple):
        raise Mismatch("a list [a, b, …]")
    fixed = (
        name == "tuple" and arguments and not (isinstance(arguments[-1], ast.Constant) and arguments[-1].value is ...)
    )
    if fixed and len(value) != len(arguments):
        raise Mismatch(f"a list of {len(arguments)} values")
    items = arguments if fixed else [arguments[0] if arguments else None] * len(value)
    fitted = [fit(entry, item, module) for entry, item in zip(value, items, strict=True)]
    return tuple(fitted) if name == "tuple" else fitted


def check_target(
    node: dict[str, Any],
    path: str,
    findings: list[str],
    *,
    extra: dict[str, str] | None = None,
    given: Collection[str] = (),
) -> None:
    """Checks a `_target_` section and those inside it against their constructors, converting values in place.

    Args:
        node: The section as plain containers.
        path: Its dotted key, for the messages.
        findings: Receives one message for each thing that is wrong.
        extra: Keys that the project adds to the constructor's, with their annotations as text.
        given: Arguments that the builder adds, so that they need not be in the section.
    """
    target = node.get("_target_")
    if not isinstance(target, str):
        findings.append(f"{path}._target_: must name a class, found {target!r}")
        return
    accepted = parameters(target)
    if accepted is None:
        if target.startswith("sr_lightning."):
            findings.append(f"{path}._target_: {target!r} is not in this version of sr_lightning")
        return  # somebody else's class: it is checked when it is built
    accepted = accepted | {
        name: Parameter(name, ast.parse(text, mode="eval").body, required=False, module="builtins")
        for name, text in (extra or {}).items()
    }
    for key, value in node.items():
        if key.startswith("_") and key.endswith("_"):
            continue
        if key not in accepted:
            findings.append(f"{path}.{key}: no such key; {nearest(key, accepted)}")
        elif isinstance(value, dict) and "_target_" in value:
            check_target(value, f"{path}.{key}", findings)
        else:
            node[key] = checked(value, accepted[key], f"{path}.{key}", findings)
    if not node.get("_partial_"):
        missing = [name for name, parameter in accepted.items() if parameter.required and name not in {*node, *given}]
        findings.extend(f"{path}.{name}: must be given" for name in missing)


def checked(value: Any, parameter: Parameter, path: str, findings: list[str]) -> Any:
    """`fit`, with the mismatch turned into a finding that names the key."""
    try:
        return fit(value, parameter.annotation, parameter.module)
    except Mismatch as mismatch:
        findings.append(f"{path}: found {value!r}, allowed: {mismatch}".replace("allowed: did", "did"))
        return value
