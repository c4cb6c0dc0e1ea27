"""PLKSR: one large-kernel convolution on a part of the channels."""

from __future__ import annotations

from sr_lightning.models.others.adapter import SpandrelNetwork, spandrel_class


class PLKSR(SpandrelNetwork):
    """Lee et al. 2024, Partial Large Kernel CNNs for Efficient Super-Resolution.

    Args:
        scale: The SR scale.
        dim: Number of channels.
        n_blocks: Number of blocks.
        kernel_size: Kernel size of the large convolution.
        ccm_type: Channel mixer: CCM, ICCM or DCCM.
        split_ratio: Fraction of the channels processed by the large convolution.
        use_ea: Whether to use element-wise attention.

    Raises:
        UserError: spandrel is not installed.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        dim: int = 64,
        n_blocks: int = 12,
        kernel_size: int = 13,
        ccm_type: str = "DCCM",
        split_ratio: float = 0.25,
        use_ea: bool = False,
    ) -> None:
        net = spandrel_class("PLKSR")(
            upscaling_factor=scale,
            dim=dim,
            n_blocks=n_blocks,
            kernel_size=kernel_size,
            ccm_type=ccm_type,
            split_ratio=split_ratio,
            use_ea=use_ea,
        )
        super().__init__(net, scale)
