"""Progress bar with steps, loss, PSNR and remaining time; plain lines without a terminal."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from torch import Tensor

_EVERY_SECONDS = 0.5  # reading the loss waits for the device, so it is not read at every step


class Progress(ProgressBar):
    """One bar for the whole training, and one line for each validation."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._console = Console()
        self._bar: RichProgress | None = None
        self._shown_at = 0.0
        self._parts: list[Tensor] = []
        """Losses of the batches that the current step has accumulated, each divided by their number."""
        self._losses: list[Tensor] = []
        """Those of the last step."""

    def disable(self) -> None:
        """Called by Lightning on all ranks but the first."""
        self._enabled = False

    def enable(self) -> None:
        """The opposite."""
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Shows the bar."""
        if not self._enabled:
            return
        self._bar = RichProgress(
            TextColumn("training"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TextColumn("{task.fields[psnr]}"),
            TimeRemainingColumn(),
            console=self._console,
            expand=True,
            auto_refresh=False,  # ten times a second, in a thread that the training would wait for
            disable=not self._console.is_terminal,
        )
        self._bar.add_task("", total=trainer.max_steps, completed=trainer.global_step, loss="", psnr="")
        self._bar.start()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Refreshes by time, not by step."""
        self._parts.append(outputs["loss"].detach())
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        self._losses, self._parts = self._parts, []
        if self._bar is None:
            return
        now = time.monotonic()
        if now - self._shown_at < _EVERY_SECONDS and trainer.global_step < trainer.max_steps:
            return
        self._shown_at = now
        self._bar.update(
            self._bar.task_ids[0], completed=trainer.global_step, loss=f"loss {self._loss():.4f}", refresh=True
        )

    def _loss(self) -> float:
        """Of the last step; reading it waits for the device."""
        return float(torch.stack(self._losses).sum()) if self._losses else float("nan")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the validation's figures above the bar."""
        if not self._enabled or trainer.sanity_checking or "val/psnr_y" not in trainer.callback_metrics:
            return
        psnr, gain = (float(trainer.callback_metrics[name]) for name in ("val/psnr_y", "val/gain"))
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], psnr=f"PSNR {psnr:.2f}", refresh=True)
        self._console.print(
            f"step {trainer.global_step:>7}  loss {self._loss():.4f}  PSNR-Y {psnr:.3f} dB  "
            f"bicubic {psnr - gain:.3f}  gain {gain:+.3f}",
            highlight=False,
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Removes the bar."""
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Restores the terminal."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
