"""Training progress: a live line in a terminal, periodic lines in a log file."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress
from torch import Tensor

from sr_lightning.callbacks.pace import Pace, clock
from sr_lightning.evaluation.tables import metric_text
from sr_lightning.text import LOG_ONLY

log = logging.getLogger(__name__)

_EVERY_SECONDS = 0.5  # reading the loss synchronises with the device, so it is not read at every step
_LINE_SECONDS = 30.0  # between lines when there is no terminal
_SHORTEST_BAR = 10  # cells
_NARROW = 80  # cells of a line that is printed


class Progress(ProgressBar):
    """Shows steps, speed, elapsed and remaining time, and PSNR; prints one line per validation.

    In a terminal the line is updated in place; otherwise a line is printed every 30 seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._console = Console()
        self._bar: RichProgress | None = None
        self._pace = Pace(0)
        self._shown_at = 0.0
        self._psnr: float | None = None
        self._best: float | None = None
        self._bicubic: float | None = None
        self._parts: list[Tensor] = []
        """Losses of the batches accumulated in the current step, each divided by their number."""
        self._losses: list[Tensor] = []
        """Losses of the last step."""

    def disable(self) -> None:
        """Called by Lightning on all ranks but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Reverses `disable`."""
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock, and shows the line in a terminal."""
        self._pace = Pace(trainer.global_step)
        self._shown_at = time.monotonic()
        kept = next((c for c in trainer.checkpoint_callbacks if getattr(c, "monitor", "") == "val/psnr_y"), None)
        score = getattr(kept, "best_model_score", None)  # for a resumed run
        self._best = None if score is None else float(score)
        if not self._enabled or not self._console.is_terminal:
            return
        self._bar = RichProgress(
            BarColumn(bar_width=None),
            TextColumn("{task.description}"),
            console=self._console,
            expand=True,
            auto_refresh=False,  # would refresh ten times a second, in a thread that the training waits for
        )
        self._bar.add_task("", total=trainer.max_steps, completed=trainer.global_step)
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
        if not self._enabled:
            return
        every = _LINE_SECONDS if self._bar is None else _EVERY_SECONDS
        is_last = self._bar is not None and trainer.global_step >= trainer.max_steps
        if time.monotonic() - self._shown_at >= every or is_last:
            self._show(trainer)

    def _show(self, trainer: pl.Trainer) -> None:
        """Draws or prints the current progress."""
        self._shown_at = time.monotonic()
        self._pace.note(trainer.global_step)
        if self._bar is None:
            log.info("%s", "  ".join(self._facts(trainer)))
            return
        text = _fitting(self._facts(trainer), self._console.width - _SHORTEST_BAR)
        self._bar.update(self._bar.task_ids[0], completed=trainer.global_step, description=text, refresh=True)

    def _facts(self, trainer: pl.Trainer) -> list[str]:
        """Returns the items to show, most important first."""
        pace = self._pace
        facts = [
            f"step {trainer.global_step}/{trainer.max_steps}",
            f"{clock(pace.elapsed)} + {clock(pace.left(trainer.max_steps))} left",
        ]
        last = [] if self._psnr is None else [f"PSNR {self._psnr:.2f}"]
        best = [] if self._best is None else [f"best {self._best:.2f}"]
        facts += [" ".join([*last, *best])] if best else []
        return [*facts, f"{pace.rate:.{0 if pace.rate >= 100 else 2}f} steps/s", f"loss {self._loss():.4f}"]

    def _loss(self) -> float:
        """Returns the loss of the last step, which synchronises with the device."""
        return float(torch.stack(self._losses).sum()) if self._losses else float("nan")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the validation's figures above the line, and writes them to the log."""
        if not self._enabled or trainer.sanity_checking or "val/psnr_y" not in trainer.callback_metrics:
            return
        psnr, gain = (float(trainer.callback_metrics[name]) for name in ("val/psnr_y", "val/gain"))
        # Bicubic does not change, but the difference of two float32, such as 31.4735, did in its last digit.
        self._bicubic = psnr - gain if self._bicubic is None else self._bicubic
        self._psnr = psnr
        self._best = psnr if self._best is None else max(self._best, psnr)
        line = (
            f"step {trainer.global_step:>7}  loss {self._loss():.4f}  PSNR-Y {psnr:.3f} dB  "
            f"bicubic {self._bicubic:.3f}  gain {gain:+.3f}"
        )
        lines = [line, *_further(trainer, getattr(pl_module, "metrics", {}))]
        self._console.print("\n".join(lines), highlight=False, markup=False)
        log.info("%s", "\n".join(lines), extra=LOG_ONLY)
        if self._bar is not None:
            self._show(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Removes the line."""
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Restores the terminal."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _further(trainer: pl.Trainer, names: Iterable[str]) -> list[str]:
    """Returns the means of the further metrics, in lines that stand below the loss and fit into a narrow terminal."""
    lines: list[str] = []
    for name in names:
        item = f"  {name} {metric_text(float(trainer.callback_metrics.get(f'val/{name}', math.nan)))}"
        if not lines or len(lines[-1] + item) > _NARROW:
            lines.append(" " * 12)
        lines[-1] += item
    return lines


def _fitting(facts: list[str], width: int) -> str:
    """Joins as many of the first items as fit into one line."""
    while len(facts) > 1 and len("  ".join(facts)) > width:
        facts = facts[:-1]
    return "  ".join(facts)
