"""`last` and `best`, saved after the validation they belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lightning.pytorch.callbacks import ModelCheckpoint


class Checkpoints(ModelCheckpoint):
    """Keeps `checkpoints/best.ckpt` and `checkpoints/last.ckpt`.

    Args:
        folder: The run's folder.
        monitor: Logged value that `best` watches; `step` for the newest.
        mode: Whether high or low is better.
    """

    def __init__(self, *, folder: str, monitor: str = "val/psnr_y", mode: Literal["min", "max"] = "max") -> None:
        super().__init__(
            dirpath=Path(folder) / "checkpoints",
            filename="best",
            monitor=monitor,
            mode=mode,
            save_last=True,
            save_top_k=1,
            auto_insert_metric_name=False,
            enable_version_counter=False,
            # After validation, never before: a kill in between would lose the validation.
            save_on_train_epoch_end=False,
        )
