"""Constructor signatures read from source text, which serve as the schemas of `_target_` sections.

A typo in a config should be reported within a second, but importing torch takes three and lightning twelve. So the
signature is taken from the file's syntax tree, without importing the module. This makes the network's constructor the
schema of `model:`, and nothing is declared twice.
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Parameter:
    """One argument of a constructor or function."""

    name: str
    annotation: ast.expr | None
    required: bool
    module: str
    """Dotted name of the module in which the annotation's names are looked up."""


def is_importable(module: str) -> bool:
    """Whether a top-level module or package can be found, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ValueError, ImportError):  # `__main__`, an empty name
        return module in sys.modules


@functools.cache
def _source(module: str) -> Path | None:
    """Returns the file of a module, without importing it or its parents."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") and not rest else None
    for root in spec.submodule_search_locations:
        path = Path(root, *rest)
        for candidate in (path / "__init__.py", path.with_suffix(".py")):
            if candidate.is_file():
                return candidate
    return None


@functools.cache
def _definitions(module: str) -> dict[str, ast.stmt]:
    """Returns a module's top-level classes, functions, assignments and imported names, including any under an `if`."""
    path = _source(module)
    found: dict[str, ast.stmt] = {}
    if path is None:
        return found
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except (SyntaxError, UnicodeDecodeError):  # in a user's module; reported when it is built
        return found
    for node in (inner for outer in body for inner in (outer.body if isinstance(outer, ast.If) else [outer])):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ImportFrom):
            found.update({alias.asname or alias.name: node for alias in node.names})
        elif isinstance(node, ast.Assign):
            found.update({target.id: node for target in node.targets if isinstance(target, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def find_definition(module: str, name: str) -> tuple[str, ast.stmt] | None:
    """Follows re-exports to the definition of a name.

    Returns:
        Dotted name of the defining module and the statement, or None if that cannot be determined from the text.
    """
    for _ in range(8):  # chains of re-exports are short; guards against cycles
        node = _definitions(module).get(name)
        if not isinstance(node, ast.ImportFrom):
            return None if node is None else (module, node)
        path = _source(module)
        assert path is not None
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        if node.level:
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
            module = f"{base}.{node.module}" if node.module else base
        else:
            module = node.module or ""
        name = next(alias.name for alias in node.names if (alias.asname or alias.name) == name)
    return None


def similar_name(target: str) -> str | None:
    """Returns the class or function of which a dotted name may be a misspelling; None if the name may be correct."""
    module, _, name = target.rpartition(".")
    defined = _definitions(module) if module and is_importable(module.partition(".")[0]) else {}
    if name in defined or "*" in defined or "__getattr__" in defined:  # may define names not visible in the text
        return None
    own = [found for found, node in defined.items() if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    close = difflib.get_close_matches(name, own, n=1, cutoff=0.6)
    return f"{module}.{close[0]}" if close else None


def constant(module: str, name: str) -> object:
    """Returns the value of a module-level literal, such as a tuple of names; None if there is none of that name."""
    found = find_definition(module, name)
    return ast.literal_eval(found[1].value) if found and isinstance(found[1], ast.Assign) else None


def table_keys(module: str, name: str) -> tuple[str, ...]:
    """Returns the keys of a module-level dict literal whose values are code; empty if there is none of that name.

    Keys are texts, or names of classes.
    """
    found = find_definition(module, name)
    value = getattr(found[1], "value", None) if found else None
    keys = value.keys if isinstance(value, ast.Dict) else []
    return tuple(key.id if isinstance(key, ast.Name) else ast.literal_eval(key) for key in keys if key is not None)


@functools.cache
def parameters(target: str) -> dict[str, Parameter] | None:
    """Returns the keyword arguments of a class or function, given its dotted name.

    Returns:
        Name -> Parameter in order (without `self`), or None if the source cannot be found or read, or if it accepts any
        name through `**kwargs`.
    """
    module, _, name = target.rpartition(".")
    found = find_definition(module, name) if module else None
    if found is None:
        return None
    module, node = found
    if isinstance(node, ast.FunctionDef):
        return _arguments(node, module, skip_first=False)
    if isinstance(node, ast.ClassDef):
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                return _arguments(item, module, skip_first=True)
        for base in node.bases:
            if isinstance(base, ast.Name) and (inherited := parameters(f"{module}.{base.id}")) is not None:
                return inherited
            if isinstance(base, ast.Attribute) and ast.unparse(base) == "nn.Module":
                return {}  # it takes no arguments
    return None


def _arguments(function: ast.FunctionDef, module: str, *, skip_first: bool) -> dict[str, Parameter] | None:
    arguments = function.args
    if arguments.kwarg is not None:
        return None
    positional = [*arguments.posonlyargs, *arguments.args]
    n_required = len(positional) - len(arguments.defaults)
    found = {a.arg: Parameter(a.arg, a.annotation, i < n_required, module) for i, a in enumerate(positional)}
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found[argument.arg] = Parameter(argument.arg, argument.annotation, default is None, module)
    if skip_first:
        found.pop(positional[0].arg)
    return found
