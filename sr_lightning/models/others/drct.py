"""DRCT: window attention in densely connected groups."""

from __future__ import annotations

from collections.abc import Sequence

from sr_lightning.models.others.adapter import SpandrelNetwork, spandrel_class


class DRCT(SpandrelNetwork):
    """Hsu et al. 2024, DRCT: Saving Image Super-Resolution away from Information Bottleneck, CVPR workshops.

    Args:
        scale: The SR scale.
        embed_dim: Number of channels.
        depths: Number of layers in each group.
        num_heads: Number of attention heads in each group.
        window_size: Side length of the attention windows in LR pixels.
        gc: Growth: channels added by each layer of a dense group.
        mlp_ratio: Hidden width of the MLP, as a multiple of the channels.

    Raises:
        UserError: spandrel is not installed.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        embed_dim: int = 48,
        depths: Sequence[int] = (6, 6),
        num_heads: Sequence[int] = (6, 6),
        window_size: int = 16,
        gc: int = 16,
        mlp_ratio: float = 2.0,
    ) -> None:
        net = spandrel_class("DRCT")(
            upscale=scale,
            embed_dim=embed_dim,
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            window_size=window_size,
            gc=gc,
            mlp_ratio=mlp_ratio,
            upsampler="pixelshuffle",
        )
        super().__init__(net, scale, multiple_of=window_size)
