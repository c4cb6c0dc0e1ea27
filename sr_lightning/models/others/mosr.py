"""MoSR: gated convolutions."""

from __future__ import annotations

from sr_lightning.models.others.adapter import SpandrelNetwork, spandrel_class


class MoSR(SpandrelNetwork):
    """MoSR of the neosr project: gated convolutions (Yu and Wang 2024, MambaOut) for super-resolution.

    Args:
        scale: The SR scale.
        dim: Number of channels.
        n_block: Number of blocks.
        kernel_size: Kernel size of the large convolution.

    Raises:
        UserError: spandrel is not installed.
    """

    def __init__(self, scale: int = 4, *, dim: int = 64, n_block: int = 12, kernel_size: int = 7) -> None:
        net = spandrel_class("MoSR")(upscale=scale, dim=dim, n_block=n_block, kernel_size=kernel_size)
        super().__init__(net, scale)
