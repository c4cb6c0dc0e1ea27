"""DAT: alternating spatial and channel attention."""

from __future__ import annotations

from collections.abc import Sequence

from sr_lightning.models.others.adapter import SpandrelNetwork, refuse_export, spandrel_class


class DAT(SpandrelNetwork):
    """Chen et al. 2023, Dual Aggregation Transformer for Image Super-Resolution, ICCV.

    Args:
        scale: The SR scale.
        embed_dim: Number of channels.
        depth: Number of layers in each group.
        num_heads: Number of attention heads in each group.
        split_size: Height and width of the attention windows in LR pixels.
        expansion_factor: Hidden width of the feed-forward network, as a multiple of the channels.
        resi_connection: Convolutions at the end of a group: `1conv` or `3conv`.
        upsampler: `pixelshuffledirect` or `pixelshuffle`.

    Raises:
        UserError: spandrel is not installed.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        embed_dim: int = 60,
        depth: Sequence[int] = (18,),
        num_heads: Sequence[int] = (6,),
        split_size: Sequence[int] = (8, 32),
        expansion_factor: float = 2.0,
        resi_connection: str = "3conv",
        upsampler: str = "pixelshuffledirect",
    ) -> None:
        net = spandrel_class("DAT")(
            upscale=scale,
            embed_dim=embed_dim,
            depth=list(depth),
            num_heads=list(num_heads),
            split_size=list(split_size),
            expansion_factor=expansion_factor,
            resi_connection=resi_connection,
            upsampler=upsampler,
        )
        super().__init__(net, scale, minimum=16)

    def _least(self, height: int, width: int) -> int:
        """Returns `minimum`, as the blocks do their own padding; refuses export for the same reason."""
        refuse_export(self, "each of its blocks fills them to multiples of a window")
        return self.minimum
