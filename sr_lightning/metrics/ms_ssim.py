"""MS-SSIM: Wang, Simoncelli and Bovik, Multiscale Structural Similarity for Image Quality Assessment, 2003."""

from __future__ import annotations

import math

from torch import Tensor

from sr_lightning.image.color import rgb_to_y
from sr_lightning.metrics.base import is_too_small, unit_levels
from sr_lightning.metrics.psnr_ssim import multiscale_similarity


class MSSSIM:
    """MS-SSIM (Wang et al. 2003) of luma, with the window of SSIM."""

    name = "ms_ssim"
    higher_is_better = True
    protocol = "MS-SSIM: Y of 8-bit RGB, not rounded, range 255, 5 levels, 11x11 gaussian 1.5 valid"
    smallest = 176  # SSIM's window of 11 pixels, doubled four times

    def __call__(self, sr: Tensor, hr: Tensor) -> float:
        """See `QualityMetric`."""
        sr, hr = unit_levels(sr, hr)
        if is_too_small(hr, self):
            return math.nan
        return float(multiscale_similarity(rgb_to_y(sr), rgb_to_y(hr), data_range=255).mean())
