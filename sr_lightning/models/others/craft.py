"""CRAFT: attention guided by high-frequency features."""

from __future__ import annotations

from collections.abc import Sequence

from sr_lightning.models.others.adapter import SpandrelNetwork, spandrel_class


class CRAFT(SpandrelNetwork):
    """Li et al. 2023, Feature Modulation Transformer: Cross-Refinement of Global Representation, ICCV.

    Args:
        scale: The SR scale.
        embed_dim: Number of channels.
        depths: Number of layers in each group.
        num_heads: Number of attention heads in each group.

    Raises:
        UserError: spandrel is not installed.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        embed_dim: int = 48,
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (6, 6, 6, 6),
    ) -> None:
        net = spandrel_class("CRAFT")(
            upscale=scale, embed_dim=embed_dim, depths=list(depths), num_heads=list(num_heads), window_size=16
        )
        super().__init__(net, scale, multiple_of=16)
