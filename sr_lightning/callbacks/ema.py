"""Exponential moving average of the weights."""

from __future__ import annotations

import itertools
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sr_lightning.errors import UserError


class EMA(WeightAveraging):
    """Averages the weights over the steps; the average is what is validated, tested and exported.

    A checkpoint holds both: the average as `state_dict`, the raw weights, from which training continues, as
    `current_model_state`. The perceptual loss's backbone is no weight of the module and in neither.

    Args:
        decay: Of the average before, the share that stays at each update (Polyak and Juditsky 1992).
        every: Steps between updates.
        start: Steps before the first that counts. Until the first update the average is the current weights.

    Raises:
        UserError: `decay` does not lie between 0 and 1, `every` is below 1, or `start` below 0.
    """

    def __init__(self, *, decay: float = 0.999, every: int = 1, start: int = 0) -> None:
        if not 0 < decay < 1:
            raise UserError(f"callbacks.ema.decay: found {decay}, allowed: above 0 and below 1")
        if every < 1:
            raise UserError(f"callbacks.ema.every: found {every}, allowed: 1 and more")
        if start < 0:
            raise UserError(f"callbacks.ema.start: found {start}, allowed: 0 and more")
        # All weights in one call; Lightning's own EMAWeightAveraging calls for each.
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch gives it no types
        super().__init__(multi_avg_fn=average)
        self.every, self.start = every, start
        self._is_swapped = False

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """After which steps the average is moved."""
        return step_idx is not None and step_idx >= self.start and (step_idx + 1) % self.every == 0

    @property
    def has_begun(self) -> bool:
        """Whether there is an average: until the first update it is the current weights."""
        return self._average_model is not None and bool(self._average_model.n_averaged > 0)

    def _follow(self, pl_module: pl.LightningModule) -> None:
        """Before the first update: makes the average equal to the current weights."""
        if self._average_model is None or self.has_begun or self._is_swapped:
            return
        average = itertools.chain(self._average_model.module.parameters(), self._average_model.module.buffers())
        current = itertools.chain(pl_module.parameters(), pl_module.buffers())
        for one, other in zip(average, current, strict=True):
            one.data.copy_(other.data)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the average into the network."""
        self._follow(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)
        self._is_swapped = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the raw weights back."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._is_swapped = False

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leaves the average in the network."""
        self._follow(pl_module)
        super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Also in the middle of a validation, when the two have changed places."""
        self._follow(pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._is_swapped and "current_model_state" in checkpoint:
            average, raw = checkpoint["current_model_state"], checkpoint["state_dict"]
            checkpoint.update(state_dict=average, current_model_state=raw)
