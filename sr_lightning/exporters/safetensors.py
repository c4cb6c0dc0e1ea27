"""Weights as `.safetensors` with the config that rebuilds the network, as accepted by all commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sr_lightning.checkpoints.weights import write_weights
from sr_lightning.exporters.card import KEY, Precision
from sr_lightning.exporters.export_network import Export
from sr_lightning.exporters.parity import Comparison
from sr_lightning.inference.planes import apply_to_planes


def export_safetensors(
    export: Export, path: Path, *, config: dict[str, Any], load: Callable[[Path], nn.Module]
) -> list[Comparison]:
    """Writes a network's weights, for all its scales.

    Args:
        export: The network.
        path: The file.
        config: `model` and `scale`; see `write_weights`.
        load: Loads such a file, as the commands do.

    Returns:
        The parity comparisons.

    Raises:
        FailedError: The result of the reloaded network differs.
    """
    weights = as_precision(export.net.state_dict(), export.card.precision)
    write_weights(path, weights, config, metadata={KEY: export.card.text()})
    net = load(path)
    return export.prove(lambda lr: apply_to_planes(net, lr, export.card.scale))


def as_precision(state: dict[str, Tensor], precision: Precision) -> dict[str, Tensor]:
    """Converts floating-point weights to a precision; counters and indices are unchanged."""
    dtype = torch.float16 if precision == "float16" else torch.float32
    return {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
