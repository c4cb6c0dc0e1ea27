"""Swin2SR: window attention of Swin Transformer V2."""

from __future__ import annotations

from collections.abc import Sequence

from sr_lightning.models.others.adapter import SpandrelNetwork, spandrel_class


class Swin2SR(SpandrelNetwork):
    """Conde et al. 2022, Swin2SR: SwinV2 Transformer for Compressed Image Super-Resolution, ECCV workshops.

    Args:
        scale: The SR scale.
        embed_dim: Number of channels.
        depths: Number of layers in each group.
        num_heads: Number of attention heads in each group.
        window_size: Side length of the attention windows in LR pixels.
        mlp_ratio: Hidden width of the MLP, as a multiple of the channels.
        upsampler: `pixelshuffledirect`, `pixelshuffle` or `nearest+conv`.

    Raises:
        UserError: spandrel is not installed.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        embed_dim: int = 60,
        depths: Sequence[int] = (6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6),
        window_size: int = 8,
        mlp_ratio: float = 2.0,
        upsampler: str = "pixelshuffledirect",
    ) -> None:
        net = spandrel_class("Swin2SR")(
            upscale=scale,
            img_size=64,
            embed_dim=embed_dim,
            depths=list(depths),
            num_heads=list(num_heads),
            window_size=window_size,
            mlp_ratio=mlp_ratio,
            upsampler=upsampler,
        )
        super().__init__(net, scale, multiple_of=window_size, minimum=16)
