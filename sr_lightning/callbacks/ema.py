"""Exponential moving average of the weights."""

from __future__ import annotations

import itertools
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sr_lightning.errors import UserError


class EMA(WeightAveraging):
    """Exponential moving average (EMA) of the weights, which is used for validation, test and export.

    A checkpoint holds both: the average as `state_dict`, and the raw weights, from which training continues, as
    `current_model_state`. The perceptual loss's backbone is not part of the module's weights and is in neither.

    Args:
        decay: Share of the previous average kept at each update (Polyak and Juditsky 1992).
        every: Steps between updates.
        start: Steps before the first one that counts. Until the first update the average equals the current weights.

    Raises:
        UserError: `decay` is not between 0 and 1, `every` is below 1, or `start` below 0.
    """

    def __init__(self, *, decay: float = 0.999, every: int = 1, start: int = 0) -> None:
        if not 0 < decay < 1:
            raise UserError(f"callbacks.ema.decay: found {decay}, allowed: above 0 and below 1")
        if every < 1:
            raise UserError(f"callbacks.ema.every: found {every}, allowed: 1 and more")
        if start < 0:
            raise UserError(f"callbacks.ema.start: found {start}, allowed: 0 and more")
        # Updates all weights in one call; Lightning's EMAWeightAveraging makes one call for each.
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch gives it no types
        super().__init__(multi_avg_fn=average)
        self.every, self.start = every, start
        self._is_swapped = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Places the average on the training device, which the module has not reached yet: copies would block steps."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Returns whether the average is updated after a step."""
        return step_idx is not None and step_idx >= self.start and (step_idx + 1) % self.every == 0

    @property
    def has_begun(self) -> bool:
        """Whether averaging has begun: until the first update, the average equals the current weights."""
        return self._average_model is not None and bool(self._average_model.n_averaged > 0)

    def _follow(self, pl_module: pl.LightningModule) -> None:
        """Before the first update, sets the average to the current weights."""
        if self._average_model is None or self.has_begun or self._is_swapped:
            return
        average = itertools.chain(self._average_model.module.parameters(), self._average_model.module.buffers())
        current = itertools.chain(pl_module.parameters(), pl_module.buffers())
        for one, other in zip(average, current, strict=True):
            one.data.copy_(other.data)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Swaps the average into the network."""
        self._follow(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)
        self._is_swapped = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Swaps the raw weights back."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._is_swapped = False

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leaves the average in the network."""
        self._follow(pl_module)
        super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Saves both sets of weights in their proper places, even during a validation, when they are swapped."""
        self._follow(pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._is_swapped and "current_model_state" in checkpoint:
            average, raw = checkpoint["current_model_state"], checkpoint["state_dict"]
            checkpoint.update(state_dict=average, current_model_state=raw)
