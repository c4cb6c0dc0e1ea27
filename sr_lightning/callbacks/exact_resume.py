"""State that makes a resumed run bit-identical to an uninterrupted one."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import Optimizer

from sr_lightning.callbacks.checkpoints import Checkpoints
from sr_lightning.checkpoints.integrity import LAST, LOGGED_ROWS
from sr_lightning.data.sampling.loader import dead_workers_ignored
from sr_lightning.errors import TrainingFailedError, UserError

log = logging.getLogger(__name__)

_KEY, _OLDER_KEY = "exact_resume", "continuation"


class ExactResume(pl.Callback):
    """Records the position of a run after each optimizer step, and restores it when the run is resumed.

    Any checkpoint written later, during a validation or after a failure in the next step, holds that position: samples
    drawn, random states, batch counts. A validation that was due but has not been done, or whose result could not be
    saved, is pending, and `PendingValidation` runs it. The last step is always validated and saved.

    After a failure that is not a user error, the state of the last step is saved. (Running statistics of batch norm may
    include the failed step; with several processes nothing is saved, because the others cannot take part.)

    Args:
        folder: The run's folder.
        count_rows: Flushes `metrics.csv` to the disk and returns its number of rows.
    """

    def __init__(self, *, folder: str, count_rows: Callable[[], int]) -> None:
        self.checkpoint = Path(folder) / "checkpoints" / LAST
        self._position: dict[str, Any] | None = None
        self._is_restored = False
        self._count_rows = count_rows
        self._is_due = False
        self._is_pending = False
        self._is_stepping = False
        self._validated: int | None = None
        self._rows_before_validation: tuple[int, int] | None = None
        self._max_steps = -1

    # -- recording -----------------------------------------------------------------------------------

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """From here on, the weights belong neither to the previous step nor to this one."""
        self._is_stepping = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Records the position; between accumulated batches there is no position to return to."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        loop = trainer.fit_loop.epoch_loop
        self._is_stepping = False
        # Private API: the batch count is the only place where Lightning keeps the step of its logs.
        self._position = {
            "step": trainer.global_step,
            "batches": loop.batch_progress.total.ready,
            "logged": loop._batches_that_stepped,
            "k": getattr(trainer.datamodule, "k", None),  # type: ignore[attr-defined]  # set by a connector
            "random": _random_state(),
        }
        every = trainer.val_check_batch
        is_due = isinstance(every, int) and self._position["batches"] % every == 0
        self._is_due = (is_due or trainer.global_step >= trainer.max_steps) and trainer.enable_validation
        if trainer.global_step >= trainer.max_steps:
            trainer.should_stop = True  # in which case Lightning validates outside its interval

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts the logged rows: a validation that is pending in the end is logged again when it is repeated."""
        self._rows_before_validation = trainer.global_step, self._count_rows()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores the random states, so that training draws the same numbers as without the validation."""
        if self._position is not None:
            self._validated = trainer.global_step
            _set_random_state(self._position["random"])

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the position and the number of logged rows; later rows do not belong to this checkpoint."""
        checkpoint[LOGGED_ROWS] = self._count_rows()
        if self._position is None:
            return
        is_pending = self._is_due and self._validated != trainer.global_step
        if is_pending and self._rows_before_validation and self._rows_before_validation[0] == trainer.global_step:
            checkpoint[LOGGED_ROWS] = self._rows_before_validation[1]
        checkpoint[_KEY] = {**self._position, "validate": is_pending}
        data = checkpoint.get(type(trainer.datamodule).__qualname__)  # type: ignore[attr-defined]  # set by a connector
        if data is not None and self._position["k"] is not None:
            data["k"] = self._position["k"]

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Saves the last step if its state is still complete."""
        position = self._position
        if position is None or position["step"] != trainer.global_step or self._is_stepping:
            return
        if trainer.state.fn != TrainerFn.FITTING or trainer.world_size > 1:
            return
        if not isinstance(exception, Exception) or isinstance(exception, UserError):
            return
        if not any(callback.has_saved(trainer) for callback in trainer.callbacks if isinstance(callback, Checkpoints)):  # type: ignore[attr-defined]  # set by a connector
            self._validated = None  # the best may have been among what was not saved
        try:
            self._save_last_step(trainer, position)
        except TrainingFailedError:
            return  # the state is not finite
        except Exception as error:
            log.warning("the state after step %d could not be saved: %s", trainer.global_step, error)
        else:
            log.warning("the state after step %d is saved in %s", trainer.global_step, self.checkpoint)

    def _save_last_step(self, trainer: pl.Trainer, position: dict[str, Any]) -> None:
        with dead_workers_ignored():  # a worker that has just died may be what ended the training
            if trainer.fit_loop.epoch_loop.batch_progress.total.completed < position["batches"]:
                # The failure came before the values of the step were logged; Lightning has no public API for that.
                trainer._logger_connector.on_batch_end()
                trainer._logger_connector.update_train_step_metrics()
            trainer.save_checkpoint(self.checkpoint)

    # -- restoring -----------------------------------------------------------------------------------

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restores the counts, so that Lightning restarts the same way wherever the checkpoint was written."""
        saved = checkpoint.get(_KEY) or checkpoint.get(_OLDER_KEY)
        if saved is None:
            return
        # In batches of now: `trainer.accumulate_grad_batches` may differ from that of the checkpoint.
        batches = saved["step"] * trainer.accumulate_grad_batches
        self._position = {key: value for key, value in saved.items() if key != "validate"} | {"batches": batches}
        self._is_pending, self._is_restored = saved["validate"], True
        self._is_due = self._is_pending
        self._validated = None if self._is_pending else saved["step"]
        # Lightning's own checkpoint layout: there is no public API to set where a loop restarts.
        loops = checkpoint["loops"]["fit_loop"]
        done = {"ready": batches, "started": batches, "processed": batches, "completed": batches - 1}
        loops["epoch_loop.batch_progress"].update(total=dict(done), current=dict(done), is_last_batch=False)
        begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
        loops["epoch_progress"].update(total=dict(begun), current=dict(begun))
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] = saved["logged"]
        loops.pop("epoch_loop.val_loop.batch_progress", None)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Raises `max_steps` for a pending validation, since Lightning would exit at once after the last step."""
        self._max_steps = trainer.max_steps
        if self._is_pending and self._position is not None:
            trainer.fit_loop.epoch_loop.max_steps = max(self._max_steps, self._position["step"] + 1)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores the random states after everything that draws random numbers during set-up."""
        if self._is_restored and self._position is not None:
            _set_random_state(self._position["random"])

    def validate_if_pending(self, trainer: pl.Trainer) -> None:
        """Runs the validation that an interruption prevented."""
        if not self._is_pending:
            return
        self._is_pending = False
        # Private API, used as in Lightning's training loop: `trainer.validate` cannot be called within `fit`.
        loop, connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
        first = connector._first_loop_iter
        loop.val_loop.restarting = False
        trainer.validating = True
        loop.val_loop.run()  # as in Lightning's training loop
        trainer.training = True
        connector._first_loop_iter = first
        loop.max_steps = self._max_steps


class PendingValidation(pl.Callback):
    """Runs a pending validation when training starts; see `in_order` for why this is a separate callback.

    Args:
        exact_resume: Callback that knows whether a validation is pending.
    """

    def __init__(self, exact_resume: ExactResume) -> None:
        self._exact_resume = exact_resume

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validates before the next batch is fetched."""
        self._exact_resume.validate_if_pending(trainer)


def _random_state() -> dict[str, Any]:
    """Returns the states of all random generators as plain data. All ranks draw alike, so one state serves all.

    `torch.cuda.is_available()` would look for the driver on every call under Lightning: half a millisecond per step.
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
