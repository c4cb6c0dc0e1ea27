"""Loss terms, one file per kind, and their weighted sum.

A term is a module that maps `(sr, hr) -> scalar`, both (N, C, H, W) in [0, 1], float32.
"""

from sr_lightning.losses.composite import CompositeLoss
from sr_lightning.losses.frequency import FocalFrequencyLoss, FrequencyLoss
from sr_lightning.losses.lpips import LPIPSLoss
from sr_lightning.losses.perceptual import PerceptualLoss, StyleLoss
from sr_lightning.losses.pixel import CharbonnierLoss, L1Loss, L2Loss
from sr_lightning.losses.structural import GradientLoss, MSSSIMLoss, SSIMLoss, TotalVariationLoss

__all__ = [
    "CharbonnierLoss",
    "CompositeLoss",
    "FocalFrequencyLoss",
    "FrequencyLoss",
    "GradientLoss",
    "L1Loss",
    "L2Loss",
    "LPIPSLoss",
    "MSSSIMLoss",
    "PerceptualLoss",
    "SSIMLoss",
    "StyleLoss",
    "TotalVariationLoss",
]
