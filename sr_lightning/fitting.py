"""Which config a file of weights would fit: the way out in the message that it does not fit this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from sr_lightning import models
from sr_lightning.checkpoint import differences, read_config, read_weights, readings, unwrapped
from sr_lightning.config import conf_dir
from sr_lightning.errors import UserError


def advise(path: Path) -> str | None:
    """The overrides that build a network for a file, in one line; None where none of ours would fit.

    One of our checkpoints says it itself. From another file the arguments are inferred, and the network that they
    give is compared with the file; arguments that no shape shows are those of the nearest `conf/model`.
    """
    try:
        config = read_config(path)
    except UserError:
        return None
    if config is not None:
        section, scale = config["model"], config["scale"]
        overrides = _overrides(section) + ([f"scale={_text(scale)}"] if scale else [])
        return f"it was saved with: {' '.join(overrides)}"
    for state in unwrapped(read_weights(path)):
        for name in models.__all__:
            arguments = _arguments(getattr(models, name), state)
            if arguments is not None:
                overrides = _overrides({"_target_": f"{models.__name__}.{name}", **arguments})
                scale = arguments.get("scale") or arguments.get("scales")
                return f"it fits: {' '.join(overrides + ([f'scale={_text(scale)}'] if scale else []))}"
    return None


def _arguments(network: type[nn.Module], state: dict[str, Tensor]) -> dict[str, Any] | None:
    """The arguments with which a network takes these weights."""
    infer = getattr(network, "infer", None)
    if infer is None:
        return None
    try:
        for weights, settings in readings(network, state):
            arguments: dict[str, Any] = infer(weights) | settings
            with torch.device("meta"):
                net = network(**arguments)
            if not differences(net, weights):
                return arguments
    except (KeyError, IndexError, ArithmeticError, ValueError, RuntimeError, UserError):
        pass  # another network's names and shapes: whatever is inferred from them is no network
    return None


def _overrides(section: dict[str, Any]) -> list[str]:
    """`model=<name>` of the nearest config for this class, and the keys that differ."""
    choices = []
    for file in sorted(Path(conf_dir(), "model").glob("*.yaml")):
        shipped = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        assert isinstance(shipped, dict)
        if shipped["_target_"] == section["_target_"]:
            changed = {
                key: value for key, value in section.items() if not key.startswith("scale") and shipped[key] != value
            }
            choices.append([f"model={file.stem}", *(f"model.{key}={_text(value)}" for key, value in changed.items())])
    return min(choices, key=len)


def _text(value: Any) -> str:
    """A value as it is typed: a list without spaces, one scale without brackets."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return str(value).replace(" ", "").replace("None", "null")
