"""Safe stop: on SIGINT, SIGTERM or SIGUSR1, the state at the current step is saved and training ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from sr_lightning.checkpoints.integrity import LAST
from sr_lightning.errors import InterruptedRun
from sr_lightning.text import printable, shown

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class SafeStop(pl.Callback):
    """Finishes the optimizer step (with several processes also the next one), saves `checkpoints/last.ckpt` and stops.

    A second SIGINT ends immediately.

    Each signal is acknowledged immediately with a line on stderr.

    A running validation is abandoned: the resumed run starts with it. The caller finds the signal in `stopped_by` and
    turns it into the exit status.

    Args:
        folder: The run's folder.
    """

    def __init__(self, *, folder: str) -> None:
        self.checkpoint = Path(folder) / "checkpoints" / LAST
        self.stopped_by: int | None = None
        self._flag: int | None = None
        self._asked: Tensor | None = None
        """With several processes: how many of them had been asked to stop at the end of the previous step."""
        self._speaks = True
        self._before: dict[int, Any] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Stores the current handlers; Lightning sets its own after this, and restores these before `teardown`."""
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        if stage == "fit":  # the command's handler, which ends a run that has not begun, would be chained as well
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Installs the handlers: any earlier, and Lightning's own would be chained to them."""
        self._speaks = trainer.is_global_zero
        if trainer.received_sigterm:
            self._flag = signal.SIGTERM
        for number in _SIGNALS:
            signal.signal(number, self._note)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lets the run end at once, as everything is saved by now; Lightning would ignore the signal."""
        for number in _SIGNALS:
            signal.signal(number, self._leave_test)

    def _leave_test(self, number: int, frame: FrameType | None) -> None:
        folder = self.checkpoint.parent.parent
        self._say(f"ended in the final test; all is trained, and ckpt_path={shown(folder)} repeats the test")
        raise SystemExit(128 + number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._flag is not None and number == signal.SIGINT:
            self._say("ended at once; the checkpoint from before stays")
            _leave_now()
        begin = "stopping after this step" if self._flag is None else "stopping already"
        self._say(f"{begin}; saving a checkpoint (Ctrl-C again: end at once)")
        self._flag = number

    def _say(self, text: str) -> None:
        """Writes without Python's buffers, since the signal may have interrupted a write to them."""
        if self._speaks:
            with contextlib.suppress(OSError, ValueError):  # stderr is closed or not a file
                start = "\r\x1b[K" if sys.stderr.isatty() else ""  # over the progress bar
                os.write(sys.stderr.fileno(), f"{start}{printable(text)}\n".encode())

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stops through the loop's regular exit, which first logs the values of this step."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # within an optimizer step there is no state to return to
        if self._is_asked_after_step(trainer):
            trainer.should_stop = True
            trainer.limit_val_batches = 0  # a long validation may be due at this very step

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves after the step has been logged: a checkpoint records how much was logged before it."""
        if self.stopped_by is not None:
            trainer.save_checkpoint(self.checkpoint)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Leaves the validation between two images, without figures, which would cover only part of the images."""
        if self._is_asked(trainer):
            trainer.save_checkpoint(self.checkpoint)
            raise InterruptedRun(self.stopped_by or signal.SIGTERM, is_told=True)

    def _is_asked_after_step(self, trainer: pl.Trainer) -> bool:
        """As `_is_asked`; with several processes a step late, as each step would have to wait for the device."""
        if trainer.world_size == 1:
            return self._is_asked(trainer)
        asked, device = self._asked, trainer.strategy.root_device
        self._asked = torch.full((), float(self._flag is not None), device=device)
        torch.distributed.all_reduce(self._asked)  # Lightning's `reduce` waits for the others first
        if asked is None or not asked:
            return False
        self.stopped_by = self._flag or signal.SIGTERM
        return True

    def _is_asked(self, trainer: pl.Trainer) -> bool:
        """Returns whether any rank was asked to stop, so that no rank waits for one that has stopped."""
        noted = self._flag is not None
        if trainer.world_size > 1:
            noted = trainer.strategy.reduce_boolean_decision(noted, all=False)
        if noted:
            self.stopped_by = self._flag or signal.SIGTERM
        return noted

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Restores the cause: a signal to the process group also kills the loader's workers, as if they had failed."""
        self.stopped_by = self.stopped_by or self._flag

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Restores the handlers; a signal after the last step has not been handled yet."""
        self.stopped_by = self.stopped_by or self._flag
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def _leave_now() -> None:
    """Ends the process immediately: Lightning would start to clean up, and exit with status 1."""
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h\n")  # shows the cursor again, which a progress bar hides
        sys.stderr.flush()
    os._exit(128 + signal.SIGINT)
