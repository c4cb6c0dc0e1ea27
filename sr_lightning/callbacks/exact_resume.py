"""What a checkpoint holds so that a continued run is, bit for bit, the one that never stopped."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import Optimizer

from sr_lightning.checkpoints.integrity import LAST
from sr_lightning.errors import TrainingFailedError, UserError

log = logging.getLogger(__name__)

_KEY = "continuation"


class Continuation(pl.Callback):
    """Notes where a run stands after each optimizer step, and puts a continued one back there.

    A checkpoint written at any later moment, in the middle of a validation or after a failure in the next step,
    is one of that place: its samples, its random numbers, its counts of batches. A validation that was due and is
    not done is owed, and `OwedValidation` makes up for it. The last step is always validated and saved.

    After a failure that is not the user's the state of the last step is saved. (Running means of a batch norm may
    have seen the failed step; with several processes nothing is saved, because the others cannot take part.)

    Args:
        folder: The run's folder.
    """

    def __init__(self, *, folder: str) -> None:
        self.checkpoint = Path(folder) / "checkpoints" / LAST
        self._place: dict[str, Any] | None = None
        self._is_restored = False
        self._is_owed = False
        self._is_stepping = False
        self._validated: int | None = None
        self._max_steps = -1

    # -- noting --------------------------------------------------------------------------------------

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """From here on the weights are neither of the step before nor of this one."""
        self._is_stepping = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notes the place; in the middle of an optimizer step there is none to return to."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        loop = trainer.fit_loop.epoch_loop
        self._is_stepping = False
        self._place = {
            "step": trainer.global_step,
            "batches": loop.batch_progress.total.ready,
            "logged": loop._batches_that_stepped,
            "k": getattr(trainer.datamodule, "k", None),  # type: ignore[attr-defined]  # set by a connector
            "random": _random_state(),
        }
        if trainer.global_step >= trainer.max_steps:
            trainer.should_stop = True  # which is when Lightning validates off its interval

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Training goes on with the random numbers that it would have drawn without the validation."""
        if self._place is not None:
            self._validated = trainer.global_step
            _set_random_state(self._place["random"])

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the place."""
        if self._place is None:
            return
        every = trainer.val_check_batch
        is_due = isinstance(every, int) and self._place["batches"] % every == 0
        is_due = (is_due or trainer.global_step >= trainer.max_steps) and trainer.enable_validation
        checkpoint[_KEY] = {**self._place, "validate": is_due and self._validated != trainer.global_step}
        data = checkpoint.get(type(trainer.datamodule).__qualname__)  # type: ignore[attr-defined]  # set by a connector
        if data is not None and self._place["k"] is not None:
            data["k"] = self._place["k"]

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Saves the last step, where its state is still there and whole."""
        place = self._place
        if place is None or place["step"] != trainer.global_step or self._is_stepping:
            return
        if trainer.state.fn != TrainerFn.FITTING or trainer.world_size > 1:
            return
        if not isinstance(exception, Exception) or isinstance(exception, UserError):
            return
        try:
            if trainer.fit_loop.epoch_loop.batch_progress.total.completed < place["batches"]:
                trainer._logger_connector.on_batch_end()  # the failure came before the step's values were logged
                trainer._logger_connector.update_train_step_metrics()
            trainer.save_checkpoint(self.checkpoint)
        except TrainingFailedError:
            return  # it is not finite
        except Exception as error:
            log.warning("the state after step %d could not be saved: %s", trainer.global_step, error)
        else:
            log.warning("the state after step %d is saved in %s", trainer.global_step, self.checkpoint)

    # -- returning -----------------------------------------------------------------------------------

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Puts the counts back, so that Lightning restarts in one way only, from whatever it was saved."""
        saved = checkpoint.get(_KEY)
        if saved is None:
            return
        self._place = {key: value for key, value in saved.items() if key != "validate"}
        self._is_owed, self._is_restored = saved["validate"], True
        self._validated = None if self._is_owed else saved["step"]
        loops, batches = checkpoint["loops"]["fit_loop"], saved["batches"]
        done = {"ready": batches, "started": batches, "processed": batches, "completed": batches - 1}
        loops["epoch_loop.batch_progress"].update(total=dict(done), current=dict(done), is_last_batch=False)
        begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
        loops["epoch_progress"].update(total=dict(begun), current=dict(begun))
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] = saved["logged"]
        loops.pop("epoch_loop.val_loop.batch_progress", None)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning would leave at once after the last step, owed or not; the schedule is built by now."""
        self._max_steps = trainer.max_steps
        if self._is_owed and self._place is not None:
            trainer.fit_loop.epoch_loop.max_steps = max(self._max_steps, self._place["step"] + 1)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the random numbers back, after all that draws some while a run is set up."""
        if self._is_restored and self._place is not None:
            _set_random_state(self._place["random"])

    def validate_if_owed(self, trainer: pl.Trainer) -> None:
        """Runs the validation that the interruption took away."""
        if not self._is_owed:
            return
        self._is_owed = False
        loop, connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
        first = connector._first_loop_iter
        loop.val_loop.restarting = False
        trainer.validating = True
        loop.val_loop.run()  # as the training loop calls it
        trainer.training = True
        connector._first_loop_iter = first
        loop.max_steps = self._max_steps


class OwedValidation(pl.Callback):
    """Comes after the callbacks that listen for signals, so that this validation can be interrupted too.

    Args:
        continuation: Knows whether one is owed.
    """

    def __init__(self, continuation: Continuation) -> None:
        self._continuation = continuation

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Before the next batch is fetched."""
        self._continuation.validate_if_owed(trainer)


def _random_state() -> dict[str, Any]:
    """Of every generator that a network may draw from, as plain data. All ranks draw alike, so one serves all.

    Asking whether there is a GPU looks for its driver each time, under Lightning: half a millisecond of every step.
    """
    name, keys, *rest = np.random.get_state(legacy=True)
    state = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
    }
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch gives it no types
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"].cpu())
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
