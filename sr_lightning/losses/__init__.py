"""What is minimised: one file for each kind of term, and their weighted sum.

A term is a module of `(sr, hr) -> scalar`, both (N, C, H, W) in [0, 1], float32.
"""

from sr_lightning.losses.composite import CompositeLoss
from sr_lightning.losses.perceptual import PerceptualLoss
from sr_lightning.losses.pixel import CharbonnierLoss, L1Loss, L2Loss

__all__ = ["CharbonnierLoss", "CompositeLoss", "L1Loss", "L2Loss", "PerceptualLoss"]
