"""Lists the imports between the wings of the package as a Markdown table, highest layer first.

    python scripts/maintenance/imports_table.py
    python scripts/maintenance/imports_table.py <checkout>/sr_lightning     # of another commit

Import statements are counted, including those inside functions, but not those under `if TYPE_CHECKING`. A wing is a
folder of the package, or a module at its root.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "sr_lightning"


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Yields the dotted names of modules that a syntax tree imports at run time."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            is_root = node.module == PACKAGE.name
            yield from ({f"{node.module}.{alias.name}" for alias in node.names} if is_root else [str(node.module)])
        yield from imported_modules(node)


def wing(parts: tuple[str, ...] | list[str]) -> str:
    """Returns the wing of a path or dotted name below the package."""
    return parts[0].removesuffix(".py")


def main() -> None:
    """Reads the arguments and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", nargs="?", type=Path, default=PACKAGE)
    package = parser.parse_args().package
    files, lines, imports = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for path in sorted(package.rglob("*.py")):
        own, text = wing(path.relative_to(package).parts), path.read_text(encoding="utf-8")
        files[own] += 1
        lines[own] += text.count("\n")
        for name in imported_modules(ast.parse(text)):
            top, _, rest = name.partition(".")
            if top == PACKAGE.name and wing(rest.split(".")) not in ("", own):
                imports[own, wing(rest.split("."))] += 1
    used_by = Counter(other for _, other in imports)
    print("| wing | files | lines | imports (statements) | imported by (wings) |\n| --- | --- | --- | --- | --- |")
    for own in sorted(files, key=lambda one: (_depth(one, imports), one), reverse=True):
        others = ", ".join(f"{b} {n}" for (a, b), n in sorted(imports.items()) if a == own)
        print(f"| {own} | {files[own]} | {lines[own]:,} | {others} | {used_by[own]} |")
    total = f"{files.total()} | {lines.total():,} | {imports.total()} statements between {len(imports)} pairs"
    print(f"| all | {total} | |")


def _depth(own: str, imports: Counter[tuple[str, str]], seen: tuple[str, ...] = ()) -> int:
    """Returns the length of the longest import chain that starts at a wing, stopping at cycles."""
    below = [other for one, other in imports if one == own and other not in seen]
    return 1 + max((_depth(other, imports, (*seen, own)) for other in below), default=0)


if __name__ == "__main__":
    main()
