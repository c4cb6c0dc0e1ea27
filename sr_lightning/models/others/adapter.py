"""Adapter from spandrel's networks (an optional extra) to our interface, with padding to their supported sizes."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn

from sr_lightning.errors import UserError
from sr_lightning.models.base import SRNetwork
from sr_lightning.models.conversion import Official, State


class SpandrelNetwork(SRNetwork):
    """Adapts a class of spandrel to our interface, for training and inference.

    Args:
        net: Network that maps (N, 3, h, w) in [0, 1] -> (N, 3, h·s, w·s).
        scale: Its scale factor s.
        multiple_of: Sides are padded to a multiple of this, and the SR image is cropped afterwards.
        minimum: Sides are padded to at least this length.
    """

    def __init__(self, net: nn.Module, scale: int, *, multiple_of: int = 1, minimum: int = 1) -> None:
        super().__init__()
        self.scales = (scale,)
        self.net = net
        self.multiple_of, self.minimum = multiple_of, minimum

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, h, w) in [0, 1] -> (N, 3, h·s, w·s)."""
        height, width = x.shape[-2:]
        least = self._least(height, width)
        for axis, side in ((2, height), (3, width)):
            wanted = torch.sym_max(side, least) if least > self.multiple_of else side
            wanted = (wanted + self.multiple_of - 1) // self.multiple_of * self.multiple_of
            if torch.compiler.is_exporting() or wanted != side:  # an exported graph must not branch on sizes
                x = x.index_select(axis, _reflected(side, wanted, x.device))
        y: Tensor = self.net(x)
        return y[..., : height * self.scales[0], : width * self.scales[0]]

    def _least(self, height: int, width: int) -> int:
        """Returns the minimum length that the sides of an image of this size are padded to."""
        return self.minimum

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Adds the adapter's prefix: the authors' files contain the network without the adapter."""
        if any(name.startswith("net.") for name in state):
            return None
        return Official({f"net.{name}": value for name, value in state.items()}, {})


def _reflected(side: int, wanted: int | torch.SymInt, device: torch.device) -> Tensor:
    """Returns (wanted,) indices into a side, reflected at its ends without repeating them, as often as needed."""
    index = torch.arange(wanted, device=device)
    period = (2 * torch.arange(side, device=device)[-1]).clamp(min=1)  # a tensor, as exported sides are symbolic
    index = index - torch.div(index, period, rounding_mode="floor") * period
    return torch.minimum(index, period - index)


def refuse_export(net: nn.Module, why: str) -> None:
    """Refuses an export in which torch would try for minutes, and then fail."""
    if torch.compiler.is_exporting():
        raise UserError(
            f"format: {type(net).__name__} is not the same for images of all sizes: {why}; "
            "allowed: safetensors, spandrel"
        )


def spandrel_class(name: str) -> Any:
    """Returns spandrel's class of an architecture.

    Raises:
        UserError: spandrel is not installed.
    """
    try:
        module = importlib.import_module(f"spandrel.architectures.{name}")
    except ImportError:
        raise UserError(
            f"model: {name} is in spandrel, which is not installed; allowed: pip install 'sr_lightning[spandrel]'"
        ) from None
    return getattr(module, name)
