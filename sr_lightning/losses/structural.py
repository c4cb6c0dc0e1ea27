"""Structural loss terms: SSIM, MS-SSIM, gradients, total variation."""

from __future__ import annotations

from torch import Tensor, nn

from sr_lightning.errors import UserError
from sr_lightning.metrics.psnr_ssim import multiscale_similarity, similarity


class SSIMLoss(nn.Module):
    """1 - SSIM of RGB (Wang et al. 2004; as a loss in Zhao et al. 2017), neither rounded nor shaved."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Maps two (N, C, H, W) in [0, 1], at least 11 pixels per side -> scalar."""
        return 1 - similarity(sr, hr, data_range=1)[0].mean()


class MSSSIMLoss(nn.Module):
    """1 - MS-SSIM of RGB (Wang et al. 2003; as a loss in Zhao et al. 2017).

    Args:
        levels: 1 to 5; n levels need HR patches of 11 · 2^(n - 1) pixels.

    Raises:
        UserError: The number of levels is not allowed.
    """

    def __init__(self, levels: int = 3) -> None:
        super().__init__()
        if not 1 <= levels <= 5:
            raise UserError(f"levels of MSSSIMLoss: found {levels}, allowed: 1 to 5")
        self.levels = levels

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Maps two (N, C, H, W) in [0, 1] -> scalar."""
        return 1 - multiscale_similarity(sr, hr, data_range=1, levels=self.levels).mean()


class GradientLoss(nn.Module):
    """L1 between the differences of neighbouring pixels, along rows and columns (Mathieu et al. 2016, eq. 6)."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Maps two (N, C, H, W) -> scalar."""
        error = sr - hr
        return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


class TotalVariationLoss(nn.Module):
    """Anisotropic total variation of the prediction, per pixel, which smooths it (Rudin et al. 1992)."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Maps (N, C, H, W) -> scalar; the target is not used."""
        return sr.diff(dim=-1).abs().mean() + sr.diff(dim=-2).abs().mean()
