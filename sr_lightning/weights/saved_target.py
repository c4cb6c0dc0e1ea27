"""Name of the class of a saved network, read from a file's header or its run's config, without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # it ships no types

_LARGEST = 10_000_000  # bytes of a header or a config; far above any real one


def saved_target(file: Path) -> str | None:
    """Returns the `_target_` of a network, for an early answer to what it cannot do; None if it is not known.

    Args:
        file: A `.safetensors` file of ours, or a checkpoint in its run's folder.
    """
    try:
        if file.suffix == ".safetensors":
            config = json.loads(_header(file)["__metadata__"]["sr_lightning"])["config"]
        elif file.parent.name == "checkpoints":
            with (file.parent.parent / ".hydra" / "config.yaml").open(encoding="utf-8") as stream:
                config = yaml.safe_load(stream.read(_LARGEST))
        else:
            return None
        target = config["model"]["_target_"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError, yaml.YAMLError):
        return None  # reading the whole file says what is wrong with it
    return target if isinstance(target, str) else None


def _header(file: Path) -> Any:
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > _LARGEST:
            raise ValueError(size)
        return json.loads(stream.read(size))
