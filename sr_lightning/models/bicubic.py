"""Bicubic interpolation as a network without parameters: the baseline in every table."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sr_lightning.image.resize import enlarge
from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import check_scales, choose_scale


class Bicubic(SRNetwork):
    """Bicubic interpolation as in MATLAB's `imresize`; no parameters.

    Args:
        scales: One or several scales.
    """

    def __init__(self, scales: int | Sequence[int] = (2, 3, 4)) -> None:
        super().__init__()
        self.scales = check_scales(scales)

    def forward(self, x: Tensor, scale: int | None = None) -> Tensor:
        """Maps (N, C, h, w) in [0, 1] -> (N, C, h·s, w·s)."""
        return enlarge(x, choose_scale(self.scales, scale))
