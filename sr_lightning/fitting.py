"""Which config a file of weights would fit: the way out in the message that it does not fit this one."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from sr_lightning import models
from sr_lightning.checkpoint import read_config, read_weights
from sr_lightning.config import conf_dir
from sr_lightning.errors import UserError
from sr_lightning.matching import differences, readings, unwrapped


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
        return f"it was saved with: {' '.join(_overrides(section, scale))}"
    for state in unwrapped(read_weights(path)):
        for name in models.__all__:
            arguments = _arguments(getattr(models, name), state)
            if arguments is not None:
                section = {"_target_": f"{models.__name__}.{name}", **arguments}
                scale = arguments.get("scale") or arguments.get("scales")
                return f"it fits: {' '.join(_overrides(section, scale))}"
    return None


def _arguments(network: type[nn.Module], state: dict[str, Tensor]) -> dict[str, Any] | None:
    """The arguments with which a network takes these weights."""
    infer = getattr(network, "infer", None)
    if infer is None:
        return None
    for weights, settings in _readings(network, state):
        try:
            arguments: dict[str, Any] = infer(weights) | settings
            with torch.device("meta"), warnings.catch_warnings(action="ignore"):
                net = network(**arguments)
        except (KeyError, IndexError, ArithmeticError, ValueError, RuntimeError, UserError):
            continue  # another network's names and shapes: what is inferred from them is no network
        if not differences(net, weights):
            return arguments
    return None


def _readings(network: type[nn.Module], state: dict[str, Tensor]) -> list[tuple[dict[str, Tensor], dict[str, Any]]]:
    try:
        return list(readings(network, state))
    except UserError:  # known names around something else; said when the file is loaded into this network
        return []


def _overrides(section: dict[str, Any], scale: Any) -> list[str]:
    """`model=<name>` of the nearest config for this class, the keys that differ, and the scale where it is known."""
    choices = []
    for file in sorted(Path(conf_dir(), "model").glob("*.yaml")):
        shipped = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        assert isinstance(shipped, dict)
        if shipped["_target_"] == section["_target_"]:
            changed = {
                f"model.{key}": value
                for key, value in section.items()
                if not key.startswith("scale") and shipped.get(key) != value
            }
            choices.append({"model": file.stem, **changed})
    nearest = min(choices, key=len)
    if scale:
        nearest["scale"] = scale[0] if isinstance(scale, list) and len(scale) == 1 else scale
    return [_typed(key, value) for key, value in nearest.items()]


def _typed(key: str, value: Any) -> str:
    """An override as it is typed in a shell."""
    text = f"{key}={value}".replace(" ", "").replace("None", "null")
    return f"'{text}'" if "[" in text else text
