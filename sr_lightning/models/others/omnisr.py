"""OmniSR: window, grid and channel attention."""

from __future__ import annotations

from sr_lightning.models.others.adapter import SpandrelNetwork, spandrel_class


class OmniSR(SpandrelNetwork):
    """Wang et al. 2023, Omni Aggregation Networks for Lightweight Image Super-Resolution, CVPR.

    Args:
        scale: The SR scale.
        num_feat: Number of channels.
        res_num: Number of blocks.
        window_size: Side length of the attention windows in LR pixels.

    Raises:
        UserError: spandrel is not installed.
    """

    def __init__(self, scale: int = 4, *, num_feat: int = 64, res_num: int = 5, window_size: int = 8) -> None:
        net = spandrel_class("OmniSR")(up_scale=scale, num_feat=num_feat, res_num=res_num, window_size=window_size)
        super().__init__(net, scale, multiple_of=window_size, minimum=16)
