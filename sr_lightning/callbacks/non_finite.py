"""Stops a run whose loss is no longer a number, before anything wrong is saved."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from sr_lightning.errors import TrainingFailedError


class NonFiniteGuard(pl.Callback):
    """Raises when a loss term becomes NaN or infinite, naming the term; what was saved before stays.

    On a GPU the terms are looked at every `every` steps and before each validation and save, so that no step
    waits for the device.

    Args:
        every: Steps between looks on a GPU; on the CPU every step is looked at.
    """

    def __init__(self, *, every: int = 50) -> None:
        self.every = every
        self._names: tuple[str, ...] = ()
        self._bad: Tensor | None = None

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Notes which terms are not finite."""
        terms: dict[str, Tensor] = {"total": outputs["loss"].detach(), **outputs["terms"]}
        bad = ~torch.isfinite(torch.stack([term.float() for term in terms.values()]))
        self._names = tuple(terms)
        self._bad = bad if self._bad is None else self._bad | bad
        if bad.device.type == "cpu" or trainer.global_step % self.every == 0:
            self._look(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks before validating and saving."""
        self._look(trainer)

    def on_save_checkpoint(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Looks before anything is written."""
        self._look(trainer)

    def _look(self, trainer: pl.Trainer) -> None:
        if self._bad is None or not bool(self._bad.any()):
            return
        names = [name for name, bad in zip(self._names, self._bad.tolist(), strict=True) if bad]
        culprits = [name for name in names if name != "total"] or names
        kept = getattr(trainer.checkpoint_callback, "last_model_path", "") or "none was written yet"
        raise TrainingFailedError(
            f"the loss is not finite at step {trainer.global_step}: {', '.join(culprits)}. The last finite checkpoint: "
            f"{kept}. Usual ways out: a lower optimizer.lr, trainer.gradient_clip_val=0.5, trainer.precision=32"
        )
