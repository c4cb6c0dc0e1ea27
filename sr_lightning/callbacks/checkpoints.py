"""Saving of `last.ckpt` and `best.ckpt` after each validation, or without validations when one would be due."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from sr_lightning.callbacks.ema import EMA
from sr_lightning.callbacks.safe_stop import SafeStop
from sr_lightning.checkpoints.integrity import BEST, LAST
from sr_lightning.errors import UserError

log = logging.getLogger(__name__)


class Checkpoints(ModelCheckpoint):
    """Keeps `checkpoints/best.ckpt`, `checkpoints/last.ckpt` and its predecessor, `checkpoints/previous.ckpt`.

    Args:
        folder: The run's folder.
        monitor: Logged value that determines `best`; `step` for the newest.
        mode: Whether a high (`max`) or a low (`min`) value is better.
        resets_best: Forget the best score when a run is resumed, because it was measured differently.
    """

    CHECKPOINT_NAME_LAST = Path(LAST).stem

    def __init__(
        self,
        *,
        folder: str,
        monitor: str = "val/psnr_y",
        mode: Literal["min", "max"] = "max",
        resets_best: bool = False,
    ) -> None:
        super().__init__(
            dirpath=Path(folder) / "checkpoints",
            filename="best",
            monitor=monitor,
            mode=mode,
            save_last=True,
            save_top_k=1,
            auto_insert_metric_name=False,
            enable_version_counter=False,
            # After validation, not before: a kill in between would lose the validation.
            save_on_train_epoch_end=False,
        )
        self.resets_best = resets_best
        self._validates = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes whether there will be validations."""
        super().on_train_start(trainer, pl_module)
        self._validates = trainer.enable_validation and sum(trainer.num_val_batches) > 0
        if not self._validates:
            self._last_global_step_saved = trainer.global_step  # the checkpoint that it was resumed from

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Saves a run without validations when one would be due; by now the step has been logged."""
        batches = trainer.global_step * trainer.accumulate_grad_batches
        if not self._validates and batches % int(trainer.val_check_batch or 1) == 0:
            self._save_newest(trainer, names=(LAST,))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the end of a run without validations; `SafeStop` saves an interrupted one."""
        stops = [callback for callback in trainer.callbacks if isinstance(callback, SafeStop)]  # type: ignore[attr-defined]  # set by a connector
        if not self._validates and not any(stop.stopped_by for stop in stops):
            self._save_newest(trainer, names=(BEST, LAST))

    def _save_newest(self, trainer: pl.Trainer, *, names: Sequence[str]) -> None:
        if not self._should_skip_saving_checkpoint(trainer):
            for name in names:
                self._save_checkpoint(trainer, str(Path(str(self.dirpath), name)))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves `last` after every validation; Lightning only does so after a new best.

        A validation before the weight averaging has begun does not count for the best: it measures other weights.

        If saving fails, what was best before is still the best: Lightning records a score before it saves the file, and
        a run that is resumed with the score alone would never write the file.
        """
        before = {**vars(self), "best_k_models": dict(self.best_k_models)}
        try:
            self._save(trainer, pl_module)
        except BaseException:
            vars(self).update(before)
            raise

    def has_saved(self, trainer: pl.Trainer) -> bool:
        """Returns whether the validation of the current step has been saved."""
        return self._last_global_step_saved == trainer.global_step

    def _save(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        value = trainer.callback_metrics.get(str(self.monitor))
        if value is not None and torch.isnan(value):  # Lightning would keep the first validation for ever
            raise UserError(
                f"callbacks.checkpoints.monitor: {self.monitor} is not a number at step {trainer.global_step}, so that "
                "no checkpoint is better than another; allowed: a value that these validation images have"
            )
        if all(callback.has_begun for callback in trainer.callbacks if isinstance(callback, EMA)):  # type: ignore[attr-defined]  # set by a connector
            super().on_validation_end(trainer, pl_module)
        if not self._should_skip_saving_checkpoint(trainer):  # nothing was saved at this step
            # Private: Lightning has no public way to save `last` without a new best.
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Does nothing: the last step is already saved, and the weights may have been replaced by their average."""

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Forgets the best score if it was measured on other images; Lightning has already restored the data module."""
        if getattr(trainer.datamodule, "has_other_validation", False):  # type: ignore[attr-defined]  # set by a connector
            log.warning("the validation images are others than the checkpoint's: the best is chosen anew")
            self.resets_best = True

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the best score even if the folder was moved, in which case Lightning would forget it.

        The paths in the checkpoint are not used: Lightning deletes what they point to, including whole folders.
        """
        best, last = (str(Path(str(self.dirpath), name)) for name in (BEST, LAST))
        if self.resets_best or not Path(best).is_file():  # set aside, or lost: with its score alone none would be kept
            return
        names = {"best_model_path": best, "kth_best_model_path": best, "last_model_path": last}
        paths = {name: path if state_dict[name] else "" for name, path in names.items() if name in state_dict}
        scores = {best: max(found)} if (found := state_dict.get("best_k_models", {}).values()) else {}
        super().load_state_dict(state_dict | paths | {"best_k_models": scores, "dirpath": self.dirpath})
