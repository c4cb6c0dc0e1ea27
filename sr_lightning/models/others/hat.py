"""HAT: channel attention in parallel with window attention."""

from __future__ import annotations

from collections.abc import Sequence

from sr_lightning.models.others.adapter import SpandrelNetwork, spandrel_class


class HAT(SpandrelNetwork):
    """Chen et al. 2023, Activating More Pixels in Image Super-Resolution Transformer, CVPR.

    Args:
        scale: The SR scale.
        embed_dim: Number of channels.
        depths: Number of layers in each group.
        num_heads: Number of attention heads in each group.
        window_size: Side length of the attention windows in LR pixels.
        compress_ratio: Factor by which channels are reduced in the convolution parallel to the window attention.
        squeeze_factor: Factor by which channels are reduced in the channel attention.
        mlp_ratio: Hidden width of the MLP, as a multiple of the channels.

    Raises:
        UserError: spandrel is not installed.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        embed_dim: int = 48,
        depths: Sequence[int] = (6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6),
        window_size: int = 16,
        compress_ratio: int = 3,
        squeeze_factor: int = 30,
        mlp_ratio: float = 2.0,
    ) -> None:
        net = spandrel_class("HAT")(
            upscale=scale,
            embed_dim=embed_dim,
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            window_size=window_size,
            compress_ratio=compress_ratio,
            squeeze_factor=squeeze_factor,
            mlp_ratio=mlp_ratio,
        )
        super().__init__(net, scale, multiple_of=window_size, minimum=16)
