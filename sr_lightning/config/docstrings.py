"""Docstrings and types of constructors and schemas as shown by help, read without importing any of them."""

from __future__ import annotations

import ast
import functools
import re

from sr_lightning.config.signatures import find_definition

_NAMES = {
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "str": "text",
    "list": "list",
    "tuple": "list",
    "Sequence": "list",
    "dict": "mapping",
    "Mapping": "mapping",
    "Path": "text",
}
_ARGUMENT = re.compile(r"^(?P<indent> *)(?P<name>\w+)(?: \([^)]*\))?: (?P<text>.+)$")


def describe_type(annotation: ast.expr | None, module: str) -> str:
    """Describes a type: `number`, `whole number or null`, `l1, l2, charbonnier`; empty if only the code knows.

    Args:
        annotation: The annotation's syntax tree.
        module: Dotted name of the module in which its names are looked up.
    """
    if isinstance(annotation, ast.Constant):
        if isinstance(annotation.value, str):
            return describe_type(ast.parse(annotation.value, mode="eval").body, module)
        return "null" if annotation.value is None else ""
    if isinstance(annotation, ast.BinOp):
        parts = [describe_type(side, module) for side in (annotation.left, annotation.right)]
        return " or ".join(dict.fromkeys(part for part in parts if part)) if parts[0] else ""
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name):
        if annotation.value.id == "Literal":
            elements = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
            return ", ".join(str(element.value) for element in elements if isinstance(element, ast.Constant))
        return _NAMES.get(annotation.value.id, "")
    if isinstance(annotation, ast.Name):
        if annotation.id in _NAMES:
            return _NAMES[annotation.id]
        found = find_definition(module, annotation.id)
        return describe_type(found[1].value, found[0]) if found and isinstance(found[1], ast.Assign) else ""
    return ""


def summary(target: str) -> str:
    """Returns the first docstring line of a class or function; empty if it has none or cannot be found."""
    return _docstring(target).partition("\n")[0]


@functools.cache
def arguments(target: str) -> dict[str, str]:
    """Returns the description of each argument in the section `Args` of a class or function."""
    found: dict[str, str] = {}
    indent = name = None
    _, _, section = _docstring(target).partition("Args:\n")
    for line in section.splitlines():
        match = _ARGUMENT.match(line)
        if line and not line.startswith(" "):
            break  # the next section
        if match and indent in (None, len(match["indent"])):
            indent, name = len(match["indent"]), match["name"]
            found[name] = match["text"].strip()
        elif name and line.strip():
            found[name] += f" {line.strip()}"
        else:
            name = None
    return found


@functools.cache
def schema_fields(schema: str) -> dict[str, tuple[ast.expr, str]]:
    """Returns the fields of a dataclass: name -> annotation and the docstring below it."""
    found = _definition(schema)
    fields: dict[str, tuple[ast.expr, str]] = {}
    name = None
    for node in found.body if isinstance(found, ast.ClassDef) else ():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            fields[name] = (node.annotation, "")
        elif name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            fields[name] = (fields[name][0], " ".join(str(node.value.value).split()))
    return fields


def _definition(target: str) -> ast.stmt | None:
    module, _, name = target.rpartition(".")
    found = find_definition(module, name) if module else None
    return found[1] if found else None


@functools.cache
def _docstring(target: str) -> str:
    node = _definition(target)
    if not isinstance(node, ast.ClassDef | ast.FunctionDef):
        return ""
    text = ast.get_docstring(node) or ""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__" and "Args:\n" not in text:
            text += "\n" + (ast.get_docstring(item) or "")  # where Lightning documents arguments
    return text.lstrip("\n")
