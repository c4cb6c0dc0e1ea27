"""Validates the network section that a weights file carries before anything in it is instantiated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sr_lightning import models
from sr_lightning.errors import UserError

BESIDE_THE_NETWORK = ("weights", "fresh", "adam_lr")
"""Keys of the section `model` that are not arguments of the network."""


_DEEPEST = 8  # levels of lists in an argument; a file may nest without end


def network_section(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Takes what is needed to build a network again from the config that its weights were saved with.

    Args:
        config: From the file; not trusted.
        path: The file, for messages.

    Returns:
        `model` (a section without `weights`) and `scale` (a list), plain data.

    Raises:
        UserError: The file asks for something else than one of our networks.
    """
    check_own_network(config["model"], path)
    model = {key: value for key, value in config["model"].items() if key not in BESIDE_THE_NETWORK}
    scale = config.get("scale")
    scales = scale if isinstance(scale, list) else [scale]
    if not scales or any(type(s) is not int for s in scales):
        raise UserError(f"{path}: was saved with the scale {scale!r}, allowed: whole numbers")
    return {"model": model, "scale": scales}


def check_own_network(section: Any, path: Path) -> None:
    """A file may name a network of `sr_lightning.models` and its arguments, and nothing else that could be run.

    Args:
        section: What the file calls `model`.
        path: The file, for messages.

    Raises:
        UserError: The class is another, or an argument is more than plain data.
    """
    target = section.get("_target_") if isinstance(section, dict) else section
    if not isinstance(target, str) or target not in {f"{models.__name__}.{name}" for name in models.__all__}:
        raise UserError(
            f"{path}: was saved with the network {target!r}; a file may only name one of sr_lightning.models. "
            "If you trust that class, repeat it on the command line: model._target_=… and its arguments"
        )
    if (bad := _not_plain({key: value for key, value in section.items() if key != "_target_"})) is not None:
        raise UserError(f"{path}: the argument {bad} of its network is no plain value")


def _not_plain(value: Any, depth: int = 0) -> str | None:
    """The first part that is more than data: an object, a key of Hydra's, an interpolation; None if there is none."""
    if depth > _DEEPEST:
        return "nested that deeply"
    parts: list[Any] = []
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or key.startswith("_") or "${" in key:
                return repr(key)
        parts = list(value.values())
    elif isinstance(value, list):
        parts = value
    elif isinstance(value, str):
        return repr(value) if "${" in value else None
    elif value is not None and not isinstance(value, bool | int | float):
        return type(value).__name__
    return next((bad for part in parts if (bad := _not_plain(part, depth + 1)) is not None), None)
