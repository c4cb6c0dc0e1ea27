"""Measures at each validation how far the features of SR images are from those of HR."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch

from sr_lightning.data.batch import EvalBatch, NoImage
from sr_lightning.metrics.feature_distance import FeatureDistance


class PerceptualDistance(pl.Callback):
    """Logs `val/perceptual`: the mean distance of the validation images in the features of a frozen network.

    1 is about the distance between a fine texture and its blurred version; 0 is the HR image itself. What a network
    that was trained with that very loss reaches here flatters it: compare such networks by another backbone.

    Args:
        backbone: As in `FeatureDistance`.
        weights: File with the backbone's weights.
    """

    def __init__(self, *, backbone: str = "efficientnet_lite0", weights: str | None = None) -> None:
        self.distance = FeatureDistance(backbone, weights=weights)  # type: ignore[arg-type]  # it checks the name
        self._sum, self._count = 0.0, 0

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins a new mean."""
        self._sum, self._count = 0.0, 0

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: EvalBatch | NoImage,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Measures one image."""
        if isinstance(batch, NoImage):
            return
        self.distance.to(outputs.device)
        with torch.no_grad(), torch.autocast(outputs.device.type, enabled=False):
            measured = self.distance(outputs.float().clamp(0, 1), batch.hr.float() / 255)
        self._sum, self._count = self._sum + float(measured), self._count + 1

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the mean over the images of all ranks."""
        totals = torch.tensor([self._sum, self._count], device=pl_module.device)
        total, count = trainer.strategy.reduce(totals, reduce_op="sum")
        if count > 0:
            pl_module.log("val/perceptual", total / count)
