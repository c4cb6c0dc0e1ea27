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
_NAMES: dict[Judge, str] = {"efficientnet_lite0": "", "efficientnet_lite2": "_lite2", "vgg16_hed": "_hed"}
TEXTURE_WINDOW = 8
"""Side of the windows of `texture`, in positions of each layer."""


class PerceptualDistance:
    """`FeatureDistance` of 8-bit images: 0 for equal ones; 0.3 to 1.4 for bicubic x4 of photographs.

    A network trained on the features of one backbone should be judged by those of another.

    Args:
        backbone: One of three; with its default layers, before the activation, L1.
        texture: Compare features sorted within windows of `TEXTURE_WINDOW` positions per side, that is, the amount of
            texture. Otherwise they are compared position by position, which prefers a blur to a displaced texture.

    Raises:
        WeightsMissingError: The backbone's weights are not available.
    """

    name = "perceptual"
    higher_is_better = False
    smallest = 32

    def __init__(self, backbone: Judge = "efficientnet_lite0", *, texture: bool = False) -> None:
        try:
            self._distance = FeatureDistance(backbone, window=TEXTURE_WINDOW if texture else None).eval()
        except UserError as error:
            raise WeightsMissingError(str(error)) from None
        self.name = ("texture" if texture else "perceptual") + _NAMES[backbone]
        where = f"sorted in windows of {TEXTURE_WINDOW}x{TEXTURE_WINDOW}, " if texture else ""
        layers = ", ".join(self._distance.layers)
        self.protocol = (
            f"{'texture' if texture else 'perceptual'} distance: L1 of the features {layers} of {backbone}, "
        )
        self.protocol += f"{where}8-bit RGB, whole image"

    def __call__(self, sr: Tensor, hr: Tensor) -> float:
        """See `QualityMetric`."""
        sr, hr = unit_levels(sr, hr)
        if is_too_small(hr, self):
            return math.nan
        with torch.inference_mode(), torch.autocast(sr.device.type, enabled=False):
            return float(self._distance.to(sr.device)(sr.float(), hr.float()))
