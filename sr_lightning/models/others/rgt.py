"""RGT: global attention through recursively downsampled features."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sr_lightning.models.others.adapter import SpandrelNetwork, refuse_export, spandrel_class


class RGT(SpandrelNetwork):
    """Chen et al. 2024, Recursive Generalization Transformer for Image Super-Resolution, ICLR.

    Args:
        scale: The SR scale.
        embed_dim: Number of channels.
        depth: Number of layers in each group.
        num_heads: Number of attention heads in each group.
        split_size: Height and width of the attention windows in LR pixels.
        c_ratio: Channels of the global attention, as a fraction of all channels.
        mlp_ratio: Hidden width of the MLP, as a multiple of the channels.

    Raises:
        UserError: spandrel is not installed.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        embed_dim: int = 48,
        depth: Sequence[int] = (6, 6),
        num_heads: Sequence[int] = (6, 6),
        split_size: Sequence[int] = (8, 32),
        c_ratio: float = 0.5,
        mlp_ratio: float = 2.0,
    ) -> None:
        net = spandrel_class("RGT")(
            upscale=scale,
            embed_dim=embed_dim,
            depth=list(depth),
            num_heads=list(num_heads),
            split_size=list(split_size),
            c_ratio=c_ratio,
            mlp_ratio=mlp_ratio,
        )
        super().__init__(net, scale, minimum=16)

    def _least(self, height: int, width: int) -> int:
        """Returns the factor by which the recursion downsamples both sides, determined by the longer one."""
        refuse_export(self, "the longer side decides how often it shrinks them")
        longest = max(height, width, self.minimum)
        return int(4 ** max(2, int(math.log(longest // 16, 4))))  # computed as in spandrel
