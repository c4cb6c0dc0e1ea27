"""Pixel losses: L1, L2, Charbonnier."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_lightning.errors import UserError


class L1Loss(nn.Module):
    """Mean of |sr - hr|."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Maps two (N, C, H, W) -> scalar."""
        return F.l1_loss(sr, hr)  # one kernel per direction, whereas the formula takes three


class L2Loss(nn.Module):
    """Mean of (sr - hr)², which is what PSNR measures."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Maps two (N, C, H, W) -> scalar."""
        return F.mse_loss(sr, hr)


class CharbonnierLoss(nn.Module):
    """Mean of sqrt((sr - hr)² + eps²), an L1 that is smooth at 0 (Lai et al. 2017, section 3.2).

    Args:
        eps: Errors far below it count quadratically, far above it linearly.

    Raises:
        UserError: `eps` is not above 0.
    """

    def __init__(self, eps: float = 1e-3) -> None:
        super().__init__()
        if not eps > 0:
            raise UserError(f"loss.charbonnier_eps: found {eps}, allowed: above 0")
        self.eps = eps

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Maps two (N, C, H, W) -> scalar."""
        return torch.sqrt((sr - hr).square() + self.eps**2).mean()
