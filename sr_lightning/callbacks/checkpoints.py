"""Saves `last.ckpt` and `best.ckpt` after each validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint

from sr_lightning.checkpoints.integrity import LAST


class Checkpoints(ModelCheckpoint):
    """Keeps `checkpoints/best.ckpt`, `checkpoints/last.ckpt` and the `last` before, `checkpoints/previous.ckpt`.

    Args:
        folder: The run's folder.
        monitor: Logged value that `best` watches; `step` for the newest.
        mode: Whether high or low is better.
        resets_best: When a run is resumed, forget the best so far: it was measured differently.
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
            # After validation, not before it: a kill in between would lose the validation.
            save_on_train_epoch_end=False,
        )
        self.resets_best = resets_best

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves `last` after every validation; Lightning does so only after the best one."""
        super().on_validation_end(trainer, pl_module)
        if not self._should_skip_saving_checkpoint(trainer):  # nothing was saved at this step
            # Private: Lightning has no public way to save `last` without a new best.
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Nothing: the last step is saved already, and by now the weights may have been replaced by their average."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the best so far, also in a folder that was moved: Lightning would forget it there."""
        if self.resets_best:
            return
        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        paths = {name: self._here(state_dict[name]) for name in names if name in state_dict}
        best = {self._here(path): score for path, score in state_dict.get("best_k_models", {}).items()}
        super().load_state_dict(state_dict | paths | {"best_k_models": best, "dirpath": self.dirpath})

    def _here(self, path: str) -> str:
        return str(Path(str(self.dirpath), Path(path).name)) if path else path
