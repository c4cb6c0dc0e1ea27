"""LPIPS: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018."""

from __future__ import annotations

import math

from torch import Tensor, nn

from sr_lightning.metrics.base import check_plain_data, find_in_hub, is_too_small, network_distance, unit_levels

# File in torch's hub folder and the first digits of its SHA-256, which are part of torchvision's file name.
ALEXNET = ("alexnet-owt-7be5be79.pth", "7be5be79")


class LPIPS:
    """LPIPS 0.1 (Zhang et al. 2018) with AlexNet, in torchmetrics' implementation and with its linear weights.

    Raises:
        WeightsMissingError: AlexNet's weights are not in torch's hub folder.
    """

    name = "lpips"
    higher_is_better = False
    protocol = "LPIPS: version 0.1, AlexNet, 8-bit RGB, whole image"
    smallest = 31  # minimum for AlexNet's second pooling

    def __init__(self) -> None:
        check_plain_data(find_in_hub(ALEXNET, "LPIPS needs torchvision's"))
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        self._net: nn.Module = LearnedPerceptualImagePatchSimilarity(net_type="alex").net.requires_grad_(False).eval()

    def __call__(self, sr: Tensor, hr: Tensor) -> float:
        """See `QualityMetric`."""
        sr, hr = unit_levels(sr, hr)
        if is_too_small(hr, self):
            return math.nan
        return network_distance(self._net, sr * 2 - 1, hr * 2 - 1)
