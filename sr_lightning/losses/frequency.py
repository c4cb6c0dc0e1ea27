"""Frequency loss terms: L1 between Fourier transforms, and the focal frequency loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sr_lightning.errors import UserError


class FrequencyLoss(nn.Module):
    """L1 between the real and imaginary parts of the orthonormal Fourier transforms (Cho et al. 2021, eq. 7)."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Maps two (N, C, H, W) -> scalar."""
        error = torch.view_as_real(torch.fft.fft2(sr - hr, norm="ortho"))
        return error.abs().mean()


class FocalFrequencyLoss(nn.Module):
    """Squared spectral error weighted by itself, so that hard frequencies count more (Jiang et al. 2021, eq. 7 to 9).

    Args:
        focus: Exponent of the weight; 0 weights all frequencies equally.

    Raises:
        UserError: `focus` is negative.
    """

    def __init__(self, focus: float = 1.0) -> None:
        super().__init__()
        if focus < 0:
            raise UserError(f"focus of FocalFrequencyLoss: found {focus}, allowed: 0 and more")
        self.focus = focus

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Maps two (N, C, H, W) -> scalar."""
        error = torch.view_as_real(torch.fft.fft2(sr - hr, norm="ortho")).square().sum(-1)  # (N, C, H, W)
        weight = error.detach().sqrt() ** self.focus
        largest = weight.amax((-2, -1), keepdim=True)
        weight = torch.where(largest > 0, weight / largest.clamp(min=torch.finfo(weight.dtype).tiny), 0)
        return (weight * error).mean()
