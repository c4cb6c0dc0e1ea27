"""Logging of the gradient norm before clipping."""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from torch.optim import Optimizer

from sr_lightning.callbacks.logged_steps import is_logged


class GradientNorm(pl.Callback):
    """Logs `train/grad_norm`, the 2-norm of the network's full gradient, at logged steps."""

    def __init__(self) -> None:  # the config check reads from it that there are no arguments
        super().__init__()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Logs the norm here, where gradients are complete and unscaled; skips a discriminator's optimizer."""
        if optimizer is not trainer.optimizers[0] or not is_logged(trainer, trainer.global_step + 1):
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if gradients:
            pl_module.log("train/grad_norm", torch.nn.utils.get_total_norm(gradients))
