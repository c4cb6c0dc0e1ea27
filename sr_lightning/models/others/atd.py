"""ATD: window attention with an adaptive token dictionary."""

from __future__ import annotations

from collections.abc import Sequence

from sr_lightning.models.others.adapter import SpandrelNetwork, spandrel_class


class ATD(SpandrelNetwork):
    """Zhang et al. 2024, Transcending the Limit of Local Window, CVPR: an adaptive token dictionary.

    Args:
        scale: The SR scale.
        embed_dim: Number of channels.
        depths: Number of layers in each group.
        num_heads: Number of attention heads in each group.
        window_size: Side length of the attention windows in LR pixels.
        category_size: Number of pixels that attend to each other within a category.
        num_tokens: Number of tokens in the learned dictionary.
        reducted_dim: Channels of queries and keys into the dictionary.
        convffn_kernel_size: Kernel size of the convolution between the two linear layers.
        mlp_ratio: Hidden width of the MLP, as a multiple of the channels.
        upsampler: `pixelshuffledirect`, `pixelshuffle` or `nearest+conv`.

    Raises:
        UserError: spandrel is not installed.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        embed_dim: int = 48,
        depths: Sequence[int] = (6, 6, 6, 6),
        num_heads: Sequence[int] = (4, 4, 4, 4),
        window_size: int = 16,
        category_size: int = 128,
        num_tokens: int = 64,
        reducted_dim: int = 8,
        convffn_kernel_size: int = 7,
        mlp_ratio: float = 1.0,
        upsampler: str = "pixelshuffledirect",
    ) -> None:
        net = spandrel_class("ATD")(
            upscale=scale,
            embed_dim=embed_dim,
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            window_size=window_size,
            category_size=category_size,
            num_tokens=num_tokens,
            reducted_dim=reducted_dim,
            convffn_kernel_size=convffn_kernel_size,
            mlp_ratio=mlp_ratio,
            upsampler=upsampler,
        )
        super().__init__(net, scale, multiple_of=window_size)
