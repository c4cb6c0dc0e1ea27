"""SAFMN: feature modulation at several resolutions."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sr_lightning.models.others.adapter import SpandrelNetwork, spandrel_class


class SAFMN(SpandrelNetwork):
    """Sun et al. 2023, Spatially-Adaptive Feature Modulation for Efficient Image Super-Resolution, ICCV.

    Args:
        scale: The SR scale.
        dim: Number of channels.
        n_blocks: Number of blocks.
        ffn_scale: Hidden width of the feed-forward network, as a multiple of the channels.

    Raises:
        UserError: spandrel is not installed.
    """

    def __init__(self, scale: int = 4, *, dim: int = 36, n_blocks: int = 8, ffn_scale: float = 2.0) -> None:
        net = spandrel_class("SAFMN")(upscaling_factor=scale, dim=dim, n_blocks=n_blocks, ffn_scale=ffn_scale)
        for module in net.modules():
            if type(module).__name__ == "SAFM":
                module.forward = MethodType(_modulated, module)  # copied and converted together with its module
        super().__init__(net, scale, multiple_of=8)


def _modulated(self: Any, x: Tensor) -> Tensor:
    """Computes spandrel's SAFM at any multiple of 8, where its adaptive pooling reduces to regular pooling."""
    found = []
    for level, (part, convolution) in enumerate(zip(x.chunk(self.n_levels, dim=1), self.mfr, strict=True)):
        if level:
            pooled = convolution(functional.max_pool2d(part, 2**level))
            found.append(functional.interpolate(pooled, scale_factor=2**level, mode="nearest"))
        else:
            found.append(convolution(part))
    modulated: Tensor = self.act(self.aggr(torch.cat(found, dim=1))) * x
    return modulated
