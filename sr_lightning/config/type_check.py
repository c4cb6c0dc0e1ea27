"""Conversion of config values to the annotated types of a constructor's arguments, without importing it."""

from __future__ import annotations

import ast
import math
from typing import Any

from sr_lightning.config.signatures import find_definition
from sr_lightning.text import nearest

_SEQUENCES = {"list", "tuple", "Sequence", "Iterable", "Collection"}
_MAPPINGS = {"dict", "Mapping"}
_SCALARS = {"bool", "int", "float", "str", "Any", "None"}


class TypeMismatch(Exception):
    """The value has a wrong type; the message says what is allowed."""


def convert(value: Any, annotation: ast.expr | None, module: str) -> Any:
    """Converts a config value to the type of an annotation.

    A float without a fraction becomes an int (`max_steps=1e5`), an int a float, a list a tuple. Names that are neither
    builtin nor an alias that can be looked up accept everything, leaving the check to the constructor.

    Args:
        value: A plain value: None, bool, int, float, str, list or dict.
        annotation: The annotation's syntax tree; None accepts everything.
        module: Dotted name of the module in which the annotation's names are looked up.

    Returns:
        The value, converted if the rules above apply.

    Raises:
        TypeMismatch: The value does not fit; the message says what is allowed.
    """
    if isinstance(annotation, ast.Constant):
        return _convert_constant(value, annotation, module)
    if isinstance(annotation, ast.BinOp):
        return _convert_union(value, [annotation.left, annotation.right], module)
    if isinstance(annotation, ast.Name):
        return _convert_name(value, annotation.id, module)
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name):
        return _convert_generic(value, annotation.value.id, annotation.slice, module)
    if isinstance(annotation, ast.Attribute) and annotation.attr == "Module":  # nn.Module
        raise TypeMismatch("a section with a _target_")  # sections are checked by `check_section`
    return value


def _convert_constant(value: Any, annotation: ast.Constant, module: str) -> Any:
    if annotation.value is None:
        if value is not None:
            raise TypeMismatch("null")
        return value
    if isinstance(annotation.value, str):  # a quoted annotation
        return convert(value, ast.parse(annotation.value, mode="eval").body, module)
    return value


def _convert_union(value: Any, options: list[ast.expr], module: str) -> Any:
    options = [option for option in options if not _is_tensor(option)] or options  # YAML cannot contain one
    known = [option for option in options if not _is_opaque(option, module)]
    # `float | MyClass` in a config means a number, as the class would accept any other value.
    if known and isinstance(value, bool | int | float | str | None):
        options = known
    allowed = []
    for option in options:
        try:
            return convert(value, option, module)
        except TypeMismatch as mismatch:
            allowed.append(str(mismatch))
    raise TypeMismatch(" or ".join(dict.fromkeys(allowed)))


def _is_tensor(annotation: ast.expr) -> bool:
    return ast.unparse(annotation) in ("Tensor", "torch.Tensor")


def _is_opaque(annotation: ast.expr, module: str) -> bool:
    """Whether an annotation is a name of a class or cannot be looked up."""
    if not isinstance(annotation, ast.Name) or annotation.id in {*_SCALARS, *_SEQUENCES, *_MAPPINGS}:
        return False
    found = find_definition(module, annotation.id)
    return found is None or not isinstance(found[1], ast.Assign)


def _convert_name(value: Any, name: str, module: str) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "bool" and not isinstance(value, bool):
        raise TypeMismatch("true or false")
    if name == "int":
        if not is_number or not math.isfinite(value) or value != int(value):
            raise TypeMismatch("a whole number")
        return int(value)
    if name == "float":
        if not is_number or not math.isfinite(value):
            raise TypeMismatch("a finite number")
        return float(value)
    if name == "str" and not isinstance(value, str):
        raise TypeMismatch("a text")
    if name in _SEQUENCES | _MAPPINGS:
        return _convert_generic(value, name, ast.Tuple(elts=[]), module)
    return value if name in _SCALARS else _convert_defined(value, name, module)


def _convert_defined(value: Any, name: str, module: str) -> Any:
    """Converts a value to a type that a module defines or imports."""
    where, node = find_definition(module, name) or (module, None)
    if isinstance(node, ast.Assign):  # an alias such as Kernel = Literal[...]
        return convert(value, node.value, where)
    if isinstance(node, ast.ClassDef) and where.startswith("sr_lightning."):
        raise TypeMismatch("a section with a _target_")  # our own classes cannot be built from plain values
    return value


def _convert_generic(value: Any, name: str, inner: ast.expr, module: str) -> Any:
    arguments = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name == "Literal":
        choices = [a.value for a in arguments if isinstance(a, ast.Constant)]
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            shown = ", ".join(str(choice) for choice in choices)
            hint = nearest(value, [c for c in choices if isinstance(c, str)]) if isinstance(value, str) else ""
            raise TypeMismatch(hint.removeprefix("allowed: ") or f"one of {shown}")
        return value
    if name == "Callable":
        raise TypeMismatch("a section with a _target_")
    if name in ("Optional", "Union"):
        return _convert_union(value, [*arguments, *([ast.Constant(None)] if name == "Optional" else [])], module)
    if name in _SEQUENCES:
        return _convert_sequence(value, name, arguments, module)
    if name in _MAPPINGS:
        if not isinstance(value, dict):
            raise TypeMismatch("a mapping {key: value}")
        item = arguments[1] if len(arguments) == 2 else None
        return {key: convert(entry, item, module) for key, entry in value.items()}
    return value


def _convert_sequence(value: Any, name: str, arguments: list[ast.expr], module: str) -> Any:
    if not isinstance(value, list | tuple):
        raise TypeMismatch("a list [a, b, …]")
    fixed = (
        name == "tuple" and arguments and not (isinstance(arguments[-1], ast.Constant) and arguments[-1].value is ...)
    )
    if fixed and len(value) != len(arguments):
        raise TypeMismatch(f"a list of {len(arguments)} values")
    items = arguments if fixed else [arguments[0] if arguments else None] * len(value)
    fitted = [convert(entry, item, module) for entry, item in zip(value, items, strict=True)]
    return tuple(fitted) if name == "tuple" else fitted
