"""Throughput, learning rate, and the share of time spent waiting for data."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
from torch.optim import Optimizer

from sr_lightning.callbacks.logged_steps import is_logged


class Throughput(pl.Callback):
    """Logs `time/data_wait` (share of the time spent waiting for data), `time/samples_per_s` and `lr`.

    Values are means since they were last logged, excluding validation.
    """

    def __init__(self) -> None:
        self._start = 0.0
        self._waited = 0.0
        self._paused = 0.0
        self._samples = 0
        self._rate = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._reset(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Pauses the clock."""
        self._pause_began = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Resumes the clock."""
        self._paused += time.perf_counter() - self._pause_began

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Records the learning rate used by the step: by the end of the batch, the scheduler has advanced."""
        if optimizer is trainer.optimizers[0]:
            self._rate = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Logs at the same steps as the loss."""
        self._samples += len(batch.lr) * trainer.world_size
        is_step = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if not (is_step and is_logged(trainer, trainer.global_step)):
            return
        elapsed = time.perf_counter() - self._start - self._paused
        if elapsed > 0:
            waited = _waited(trainer) - self._waited
            pl_module.log("time/data_wait", waited / elapsed)
            pl_module.log("time/samples_per_s", self._samples / elapsed)
            pl_module.log("lr", self._rate)
        self._reset(trainer)

    def _reset(self, trainer: pl.Trainer) -> None:
        self._start = time.perf_counter()
        self._waited = _waited(trainer)
        self._paused = 0.0
        self._samples = 0


def _waited(trainer: pl.Trainer) -> float:
    """Returns the seconds that training has waited for the loader, if the loader counts them."""
    return float(getattr(trainer.train_dataloader, "waited", 0.0))
