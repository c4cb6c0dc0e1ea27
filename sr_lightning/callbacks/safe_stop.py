"""SIGINT, SIGTERM and SIGUSR1 save the state at the current step before the run ends."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class SafeStop(pl.Callback):
    """Finishes the optimizer step, saves `checkpoints/last.ckpt` and stops; a second SIGINT ends at once.

    The caller finds the signal in `stopped_by` and turns it into the exit status.

    Args:
        folder: The run's folder.
    """

    def __init__(self, *, folder: str) -> None:
        self.checkpoint = Path(folder) / "checkpoints" / "last.ckpt"
        self.stopped_by: int | None = None
        self._flag: int | None = None
        self._before: dict[int, Any] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remembers the handlers; Lightning sets its own after this, and gives them back before `teardown`."""
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Installs the handlers: any earlier, and Lightning's own would be chained to them."""
        for number in _SIGNALS:
            signal.signal(number, self._note)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Everything is saved by now, so that the run may end at once; Lightning would ignore the signal."""
        for number in _SIGNALS:
            signal.signal(number, _leave)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._flag is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._flag = number

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """All ranks agree, so that none waits for one that has stopped."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # in the middle of an optimizer step there is no state to return to
        noted = self._flag is not None
        if trainer.world_size > 1:
            noted = trainer.strategy.reduce_boolean_decision(noted, all=False)
        if noted:
            self.stopped_by = self._flag or signal.SIGTERM
            trainer.save_checkpoint(self.checkpoint)
            trainer.should_stop = True
            # Validation may be due at this very step and take long; the resumed run makes up for it.
            trainer.limit_val_batches = 0

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Gives the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
