"""DISTS: Ding et al., Image Quality Assessment: Unifying Structure and Texture Similarity, TPAMI 2020."""

from __future__ import annotations

import math

from torch import Tensor, nn

from sr_lightning.metrics.base import check_plain_data, find_in_hub, is_too_small, network_distance, unit_levels

# File in torch's hub folder and the first digits of its SHA-256, which are part of torchvision's file name.
VGG16 = ("vgg16-397923af.pth", "397923af")


class DISTS:
    """DISTS (Ding et al. 2020), in torchmetrics' implementation and with its layer weights.

    Raises:
        WeightsMissingError: VGG16's weights are not in torch's hub folder.
    """

    name = "dists"
    higher_is_better = False
    protocol = "DISTS: VGG16, 8-bit RGB, whole image, not resized to 256 pixels"
    smallest = 16  # leaves one pixel after VGG's four poolings

    def __init__(self) -> None:
        check_plain_data(find_in_hub(VGG16, "DISTS needs torchvision's"))
        from torchmetrics.functional.image.dists import DISTSNetwork

        self._net: nn.Module = DISTSNetwork().requires_grad_(False).eval()

    def __call__(self, sr: Tensor, hr: Tensor) -> float:
        """See `QualityMetric`."""
        sr, hr = unit_levels(sr, hr)
        if is_too_small(hr, self):
            return math.nan
        return network_distance(self._net, sr, hr)
