"""Perceptual loss and style loss: distances between pretrained features."""

from __future__ import annotations

from torch import Tensor

from sr_lightning.metrics.feature_distance import FeatureDistance


class PerceptualLoss(FeatureDistance):
    """Distance between the features of two images (Johnson et al. 2016; Ledig et al. 2017, eq. 5)."""

    needs_rgb = True
    """The output of a network that works on Y is combined with the chroma of HR."""


class StyleLoss(PerceptualLoss):
    """Distance between Gram matrices: which features occur together, regardless of position (Gatys et al. 2016, eq. 3).

    Arguments, scaling and errors as in `PerceptualLoss`; with `window`, regardless of position within each window, as
    in Sajjadi et al. 2017. Its usual weight is far smaller than that of a perceptual loss (ibid.).
    """

    def _compared(self, features: Tensor) -> Tensor:
        """Maps (N, C, h, w) -> (N, rows, columns, C, C)."""
        windows = self._windows(features).permute(0, 2, 3, 1, 4)  # (N, rows, columns, C, positions)
        return windows @ windows.transpose(-1, -2) / windows.shape[-1]
