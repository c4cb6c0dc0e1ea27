"""Distance between pretrained features as a metric, with a backbone that the network was not trained on."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from sr_lightning.errors import UserError
from sr_lightning.metrics.base import WeightsMissingError, is_too_small, unit_levels
from sr_lightning.metrics.feature_distance import FeatureDistance

Judge = Literal["efficientnet_lite0", "efficientnet_lite2", "vgg16_hed"]
_NAMES: dict[Judge, str] = {
    "efficientnet_lite0": "perceptual",
    "efficientnet_lite2": "perceptual_lite2",
    "vgg16_hed": "perceptual_hed",
}


class PerceptualDistance:
    """`FeatureDistance` of 8-bit images: 0 for equal ones; bicubic x4 of photographs has 0.3 to 1.4.

    A network that was trained on the features of one backbone is to be judged by those of another.

    Args:
        backbone: One of three; its usual layers, before the activation, L1.

    Raises:
        WeightsMissingError: The backbone's weights are not at hand.
    """

    name = "perceptual"
    higher_is_better = False
    smallest = 32

    def __init__(self, backbone: Judge = "efficientnet_lite0") -> None:
        try:
            self._distance = FeatureDistance(backbone).eval()
        except UserError as error:
            raise WeightsMissingError(str(error)) from None
        self.name = _NAMES[backbone]
        layers = ", ".join(self._distance.layers)
        self.protocol = f"perceptual distance: L1 of the features {layers} of {backbone}, 8-bit RGB, whole image"

    def __call__(self, sr: Tensor, hr: Tensor) -> float:
        """See `QualityMetric`."""
        sr, hr = unit_levels(sr, hr)
        if is_too_small(hr, self):
            return math.nan
        with torch.inference_mode(), torch.autocast(sr.device.type, enabled=False):
            return float(self._distance.to(sr.device)(sr.float(), hr.float()))
