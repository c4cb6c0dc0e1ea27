"""Identification of the network, and of the overrides, that a weights file belongs to."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from sr_lightning import models
from sr_lightning.checkpoints.matching import candidate_states, differences, without_prefixes
from sr_lightning.checkpoints.network_config import BESIDE_THE_NETWORK
from sr_lightning.checkpoints.weights import WeightsFile
from sr_lightning.config.conf_files import conf_dir
from sr_lightning.config.overrides import as_typed_value
from sr_lightning.errors import UserError
from sr_lightning.models.base import SRNetwork
from sr_lightning.models.conversion import Official


@dataclass(frozen=True)
class Identified:
    """The network that a file of weights belongs to."""

    model: dict[str, Any]
    """The config's section, without `weights`."""
    overrides: str
    """The overrides that select it on a command line."""


def identify_network(file: WeightsFile) -> Identified | None:
    """Infers one of our networks from names and shapes; what no shape shows is as in the nearest `conf/model`.

    Returns:
        A network that takes all of the weights; None where none of ours would.
    """
    return next((_with_overrides(section) for section, count in _candidates(file) if not count), None)


def nearest_network(file: WeightsFile) -> Identified | None:
    """The one of our networks that a file was most likely saved from, though some names or shapes differ.

    Returns:
        None where more than a quarter of the names would differ.
    """
    section, _ = min(_candidates(file), key=lambda candidate: candidate[1], default=(None, 0))
    return None if section is None else _with_overrides(section)


def suggest_overrides(file: WeightsFile) -> str | None:
    """The overrides that build a network for a file, in one line; None where none of ours would fit.

    One of our checkpoints says it itself; from another file it is inferred.
    """
    try:
        config = file.network_config
    except UserError:
        return None
    if config is not None:
        return f"it was saved with: {_with_overrides(config['model'] | {'scale': config['scale']}).overrides}"
    found = identify_network(file)
    return None if found is None else f"it fits: {found.overrides}"


def _candidates(file: WeightsFile) -> Iterator[tuple[dict[str, Any], int]]:
    """Networks of ours that may have made a file, and how many names differ: at most a quarter."""
    for state in without_prefixes(file.weights):
        for name in models.__all__:
            for arguments, count in _tried(getattr(models, name), state):
                if count <= len(state) // 4:
                    yield {"_target_": f"{models.__name__}.{name}", **arguments}, count


def _tried(network: type[SRNetwork], state: dict[str, Tensor]) -> Iterator[tuple[dict[str, Any], int]]:
    """Arguments of a network that come nearest to these weights, and how many names still differ."""
    for candidate in _candidate_states(network, state):
        try:
            if (inferred := network.infer(candidate.state)) is None:
                return
            arguments = inferred | candidate.settings
            with torch.device("meta"), warnings.catch_warnings(action="ignore"):
                net = network(**arguments)
        except (KeyError, IndexError, ArithmeticError, ValueError, RuntimeError, UserError):
            continue  # another network's names and shapes: what is inferred from them is no network
        yield arguments, sum(len(finding.names) for finding in differences(net, candidate.state))


def _candidate_states(network: type[SRNetwork], state: dict[str, Tensor]) -> list[Official]:
    try:
        return list(candidate_states(network, state))
    except UserError:  # known names around something else; said when the file is loaded into this network
        return []


def _with_overrides(section: dict[str, Any]) -> Identified:
    """The nearest config for this class, and the keys that differ."""
    choices = []
    for file in sorted(Path(conf_dir(), "model").glob("*.yaml")):
        saved = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        assert isinstance(saved, dict)
        if saved["_target_"] == section["_target_"]:
            changed = {
                f"model.{key}": value
                for key, value in section.items()
                if not key.startswith("scale") and saved.get(key) != value
            }
            choices.append((len(changed), {"model": file.stem, **changed}, saved))
    _, overrides, nearest = min(choices, key=lambda choice: choice[0])
    if scale := section.get("scale") or section.get("scales"):
        overrides["scale"] = scale[0] if isinstance(scale, list) and len(scale) == 1 else scale
    plain = {str(key): value for key, value in nearest.items() if key not in (*BESIDE_THE_NETWORK, "scale", "scales")}
    return Identified(plain | section, shlex.join(f"{key}={as_typed_value(value)}" for key, value in overrides.items()))
