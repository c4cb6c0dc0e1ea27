"""SeemoRe: low-rank experts, one of which is selected for each image."""

from __future__ import annotations

import torch
from torch import Tensor

from sr_lightning.models.others.adapter import SpandrelNetwork, spandrel_class


class SeemoRe(SpandrelNetwork):
    """Zamfir et al. 2024, See More Details: Efficient Image Super-Resolution by Experts Mining, ICML.

    Args:
        scale: The SR scale.
        embedding_dim: Number of channels.
        num_layers: Number of blocks.
        num_experts: Number of experts, one of which is selected for each image.
        recursive: Number of steps that aggregate a pixel's neighbourhood.
        lr_space: Growth of the experts' ranks: linear, exp or double.

    Raises:
        UserError: spandrel is not installed.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        embedding_dim: int = 36,
        num_layers: int = 6,
        num_experts: int = 3,
        recursive: int = 2,
        lr_space: str = "exp",
    ) -> None:
        net = spandrel_class("SeemoRe")(
            scale=scale,
            embedding_dim=embedding_dim,
            num_layers=num_layers,
            num_experts=num_experts,
            recursive=recursive,
            lr_space=lr_space,
        )
        super().__init__(net, scale, minimum=16)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, h, w) in [0, 1] -> (N, 3, h·s, w·s); in evaluation, selects experts image by image."""
        if self.training or len(x) == 1:
            return super().forward(x)
        return torch.cat([super(SeemoRe, self).forward(image[None]) for image in x])
