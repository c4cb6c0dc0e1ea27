"""Validation of the network section in a weights file, before anything in it is instantiated."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sr_lightning import models
from sr_lightning.config.overrides import model_override
from sr_lightning.errors import UserError
from sr_lightning.models import others

BESIDE_THE_NETWORK = ("weights", "fresh", "adam_lr")
"""Keys of the section `model` that are not arguments of the network."""
_MOST_VALUES, _DEEPEST = 100_000, 32  # limits of a config: far above any real one, and quick to walk
_LARGEST = 1024  # largest integer allowed among a network's arguments if its weights are small


def check_config(config: dict[str, Any], path: Path) -> None:
    """Checks that a config from a file is a tree of plain values, small enough to be walked.

    Pickles can share and nest lists so that a kilobyte expands endlessly, or contains itself.

    Args:
        config: Config from the file; its `model` is checked further by `network_section`.
        path: The file, for messages.

    Raises:
        UserError: The config is not such a tree.
    """
    waiting: list[tuple[Any, int]] = [(config, 0)]
    for seen in range(_MOST_VALUES + 1):
        if not waiting:
            break
        value, depth = waiting.pop()
        if depth > _DEEPEST or seen == _MOST_VALUES:
            raise UserError(
                f"{path}: its config is nested without end; allowed: {_MOST_VALUES:,} plain values, {_DEEPEST} deep"
            )
        if isinstance(value, dict):
            waiting += [(part, depth + 1) for part in value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += [(part, depth + 1) for part in value]
    for key, value in config.items():
        if not isinstance(key, str):
            raise UserError(f"{path}: its config holds the key {key!r}, allowed: texts")
        if key != "model" and (bad := _no_data(value)) is not None:
            raise UserError(f"{path}: its config holds a {bad} in {key!r}, allowed: plain values")


def _no_data(value: Any) -> str | None:
    """Returns the type of the first part that is not plain data; tuples from optimizer settings are accepted."""
    if isinstance(value, dict):
        wrong = next((key for key in value if not isinstance(key, str)), None)
        if wrong is not None:
            return f"key {wrong!r}"
        value = list(value.values())
    if isinstance(value, list | tuple):
        return next((bad for part in value if (bad := _no_data(part)) is not None), None)
    return None if value is None or isinstance(value, bool | int | float | str) else type(value).__name__


def network_section(config: dict[str, Any], path: Path, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Extracts what is needed to rebuild a network from the config saved with its weights.

    Args:
        config: Untrusted config from the file.
        path: The file, for messages.
        weights: Weights in the file, which limit the size of the network.

    Returns:
        `model` (a section without `weights`) and `scale` (a list), plain data.

    Raises:
        UserError: The file names something other than one of our networks, or one larger than its weights.
    """
    check_own_network(config["model"], path)
    model = {key: value for key, value in config["model"].items() if key not in BESIDE_THE_NETWORK}
    largest = max(_LARGEST, len(weights), *(size for value in weights.values() for size in value.shape))
    for name, value in model.items():
        numbers = [number for number in (value if isinstance(value, list) else [value]) if type(number) is int]
        if any(abs(number) > largest for number in numbers):
            raise UserError(f"{path}: was saved with model.{name}={value}, but its weights are of a smaller network")
    scale = config.get("scale")
    scales = scale if isinstance(scale, list) else [scale]
    if not scales or any(type(s) is not int for s in scales):
        raise UserError(f"{path}: was saved with the scale {scale!r}, allowed: whole numbers")
    return {"model": model, "scale": scales}


def check_own_network(section: Any, path: Path) -> None:
    """Checks that a file names only a network of `sr_lightning.models` with its arguments, and nothing else executable.

    Args:
        section: Section `model` of the file; a finite tree, see `check_config`.
        path: The file, for messages.

    Raises:
        UserError: It names another class, or an argument is not plain data.
    """
    target = section.get("_target_") if isinstance(section, dict) else section
    own = {f"{module.__name__}.{name}" for module in (models, others) for name in module.__all__}
    if not isinstance(target, str) or target not in own:
        typed, argument = _typed_again(section)
        raise UserError(
            f"{path}: was saved with the network {target!r}; a file may only name one of sr_lightning.models, as "
            "building a class runs its code. If you trust that one, name it yourself:\n"
            f"  evaluate, upscale, export: {typed}\n"
            f"  Python: load(…, model={argument})"
        )
    if (bad := _not_plain({key: value for key, value in section.items() if key != "_target_"})) is not None:
        raise UserError(f"{path}: the argument {bad} of its network is no plain value")


def _typed_again(section: Any) -> tuple[str, str]:
    """Returns what names a file's network on a command line and in Python, with its arguments if they are plain."""
    if isinstance(section, dict) and _not_plain({k: v for k, v in section.items() if k != "_target_"}) is None:
        own = {key: value for key, value in section.items() if key not in BESIDE_THE_NETWORK}
        is_name = re.fullmatch(r"[\w.]+", str(own.get("_target_", ""))) is not None
        if is_name and (typed := model_override(own)) is not None:
            return shlex.quote(typed), repr(own)
    return "'model={_target_: …}' with its arguments", '{"_target_": …}'


def _not_plain(value: Any) -> str | None:
    """Returns the first part that is not plain data (an object, a Hydra key, an interpolation); None if all is."""
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
    return next((bad for part in parts if (bad := _not_plain(part)) is not None), None)
