"""Plain containers of a config: nested sections as dotted keys, one value or several as a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flattened(section: Mapping[Any, Any], separator: str = ".") -> dict[str, Any]:
    """Flattens nested sections: `{"a": {"b": 1}}` -> `{"a.b": 1}`.

    Lists and empty sections count as values.
    """
    flat: dict[str, Any] = {}
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            flat |= {f"{key}{separator}{name}": item for name, item in flattened(value, separator).items()}
        else:
            flat[str(key)] = value
    return flat


def as_list(value: Any) -> list[Any]:
    """Returns the values of a key that takes one or a list of them; none for null."""
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
