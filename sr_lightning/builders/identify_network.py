"""Identification of the network, and of the overrides that select it, from a weights file."""

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
    """The network that a weights file belongs to."""

    model: dict[str, Any]
    """The config section `model`, without `weights`."""
    overrides: str
    """The overrides that select it on a command line."""


def identify_network(file: WeightsFile) -> Identified | None:
    """Infers one of our networks from names and shapes, filling in other arguments from the closest `conf/model`.

    Returns:
        A network that takes all of the weights; None if none of ours does.
    """
    return next((_with_overrides(section) for section, count in _candidates(file) if not count), None)


def nearest_network(file: WeightsFile) -> Identified | None:
    """Finds the one of our networks that a file was most likely saved from, even if some names or shapes differ.

    Returns:
        The network; None if more than a quarter of the names would differ.
    """
    section, _ = min(_candidates(file), key=lambda candidate: candidate[1], default=(None, 0))
    return None if section is None else _with_overrides(section)


def suggest_overrides(file: WeightsFile) -> str | None:
    """Returns the overrides that build a network for a file, in one line; None if none of ours fits.

    They are stored in our own checkpoints, and inferred for other files.
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
    """Yields our networks that a file may be from, with the number of names that differ (at most a quarter)."""
    for state in without_prefixes(file.weights):
        for name in models.__all__:
            for arguments, count in _tried(getattr(models, name), state):
                if count <= len(state) // 4:
                    yield {"_target_": f"{models.__name__}.{name}", **arguments}, count


def _tried(network: type[SRNetwork], state: dict[str, Tensor]) -> Iterator[tuple[dict[str, Any], int]]:
    """Yields the arguments that bring a network closest to these weights, with the number of names that differ."""
    for candidate in _candidate_states(network, state):
        try:
            if (inferred := network.infer(candidate.state)) is None:
                return
            arguments = inferred | candidate.settings
            with torch.device("meta"), warnings.catch_warnings(action="ignore"):
                net = network(**arguments)
        except (KeyError, IndexError, ArithmeticError, ValueError, RuntimeError, UserError):
            continue  # names and shapes of another network, from which no valid network can be inferred
        yield arguments, sum(len(finding.names) for finding in differences(net, candidate.state))


def _candidate_states(network: type[SRNetwork], state: dict[str, Tensor]) -> list[Official]:
    try:
        return list(candidate_states(network, state))
    except UserError:  # known names, but another architecture; reported when loaded into this network
        return []


def _with_overrides(section: dict[str, Any]) -> Identified:
    """Expresses a section as overrides: the closest config for its class, and the keys that differ."""
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
