"""Which config a file of weights would fit: the way out in the message that it does not fit this one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from sr_lightning import models
from sr_lightning.checkpoints.matching import differences, readings, unwrapped
from sr_lightning.checkpoints.weights import BESIDE_THE_NETWORK, read_config, read_weights
from sr_lightning.config.conf_files import conf_dir
from sr_lightning.errors import UserError


@dataclass(frozen=True)
class Fit:
    """The network that a file of weights belongs to."""

    model: dict[str, Any]
    """The config's section, without `weights`."""
    overrides: str
    """What to type for it."""


def fitting_network(path: Path) -> Fit | None:
    """Infers one of our networks from names and shapes; what no shape shows is as in the nearest `conf/model`.

    Args:
        path: Any file of weights.

    Returns:
        A network that takes all of the weights; None where none of ours would.

    Raises:
        UserError: The file cannot be read.
    """
    return next((_fit(section) for section, count in _candidates(path) if not count), None)


def nearly_fitting(path: Path) -> Fit | None:
    """The one of our networks that a file was most likely saved from, though some names or shapes differ.

    Args:
        path: Any file of weights.

    Returns:
        None where more than a quarter of the names would differ.
    """
    section, _ = min(_candidates(path), key=lambda candidate: candidate[1], default=(None, 0))
    return None if section is None else _fit(section)


def advise(path: Path) -> str | None:
    """The overrides that build a network for a file, in one line; None where none of ours would fit.

    One of our checkpoints says it itself; from another file it is inferred.
    """
    try:
        config = read_config(path)
    except UserError:
        return None
    if config is not None:
        return f"it was saved with: {_fit(config['model'] | {'scale': config['scale']}).overrides}"
    found = fitting_network(path)
    return None if found is None else f"it fits: {found.overrides}"


def _candidates(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Networks of ours that may have made a file, and how many names differ: at most a quarter."""
    for state in unwrapped(read_weights(path)):
        for name in models.__all__:
            for arguments, count in _tried(getattr(models, name), state):
                if count <= len(state) // 4:
                    yield {"_target_": f"{models.__name__}.{name}", **arguments}, count


def _tried(network: type[nn.Module], state: dict[str, Tensor]) -> Iterator[tuple[dict[str, Any], int]]:
    """Arguments of a network that come nearest to these weights, and how many names still differ."""
    infer = getattr(network, "infer", None)
    if infer is None:
        return
    for weights, settings in _readings(network, state):
        try:
            arguments: dict[str, Any] = infer(weights) | settings
            with torch.device("meta"), warnings.catch_warnings(action="ignore"):
                net = network(**arguments)
        except (KeyError, IndexError, ArithmeticError, ValueError, RuntimeError, UserError):
            continue  # another network's names and shapes: what is inferred from them is no network
        yield arguments, sum(len(finding.names) for finding in differences(net, weights))


def _readings(network: type[nn.Module], state: dict[str, Tensor]) -> list[tuple[dict[str, Tensor], dict[str, Any]]]:
    try:
        return list(readings(network, state))
    except UserError:  # known names around something else; said when the file is loaded into this network
        return []


def _fit(section: dict[str, Any]) -> Fit:
    """The nearest config for this class, and the keys that differ."""
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
            choices.append((len(changed), {"model": file.stem, **changed}, shipped))
    _, overrides, nearest = min(choices, key=lambda choice: choice[0])
    if scale := section.get("scale") or section.get("scales"):
        overrides["scale"] = scale[0] if isinstance(scale, list) and len(scale) == 1 else scale
    plain = {str(key): value for key, value in nearest.items() if key not in (*BESIDE_THE_NETWORK, "scale", "scales")}
    return Fit(plain | section, " ".join(_typed(key, value) for key, value in overrides.items()))


def _typed(key: str, value: Any) -> str:
    """An override as it is typed in a shell."""
    text = f"{key}={value}".replace(" ", "").replace("None", "null")
    return f"'{text}'" if "[" in text else text
