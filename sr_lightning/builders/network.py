"""Construction of the network from the config section `model`, with its weights."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from sr_lightning.builders.components import build
from sr_lightning.builders.identify_network import suggest_overrides
from sr_lightning.checkpoints.network_config import BESIDE_THE_NETWORK
from sr_lightning.checkpoints.weights import WeightsFile, load_weights
from sr_lightning.errors import UserError
from sr_lightning.models.base import check_network
from sr_lightning.weights.location import find_weights_file

log = logging.getLogger(__name__)


def build_network(section: dict[str, Any], *, weights: WeightsFile | None = None) -> nn.Module:
    """Builds a network, and loads weights into it if there are any.

    Args:
        section: The network's `_target_` and arguments, and `weights` (see `find_weights_file`)
            with `fresh`, the layers that are not loaded from it.
        weights: A file that has already been read, to use instead of `section["weights"]`.

    Raises:
        UserError: The class is not a network, does not accept its arguments, or the weights do not fit it.
    """
    net = build({key: value for key, value in section.items() if key not in BESIDE_THE_NETWORK}, "model")
    if not isinstance(net, nn.Module):
        raise UserError(f"model._target_: {section['_target_']} is a {type(net).__name__}, allowed: a torch.nn.Module")
    check_network(net)
    if weights is None and section.get("weights") is not None:
        weights = WeightsFile.read(file := find_weights_file(section["weights"]))
        log.info("starting from %s", file)
    if weights is not None:
        load_weights(net, weights, fresh=section.get("fresh", ()), suggest=suggest_overrides)
    return net.to(memory_format=torch.channels_last)
