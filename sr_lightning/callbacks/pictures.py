"""Comparison sheets of the first images of each set, saved and sent to the loggers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor

from sr_lightning.data.batch import EvalBatch, NoImage
from sr_lightning.evaluation.sheet import Pixels, cropped_panels, sheet
from sr_lightning.image.color import write_png
from sr_lightning.loggers.records import log_sheet

_LONGEST = 40  # characters, of up to four bytes each; file systems allow 255 bytes


class Pictures(pl.Callback):
    """Saves comparison sheets for the first images of each set, at each validation and at the final test.

    Sheets are saved in `samples/` and logged to W&B and TensorBoard under one key per image. For W&B, test images are
    shown as a table instead, for which `panels` are kept.

    Args:
        folder: The run's folder.
        n_validation: Images per set and scale shown at a validation.
        n_test: Images per set and scale shown at the test.
        zoom: Side of the zoomed crop in HR pixels.
    """

    def __init__(self, *, folder: str, n_validation: int = 1, n_test: int = 8, zoom: int = 60) -> None:
        self.folder = Path(folder) / "samples"
        self.n_validation = n_validation
        self.n_test = n_test
        self.zoom = zoom
        self._seen: dict[tuple[str, int], int] = {}
        self._names: dict[str, tuple[str, int, int]] = {}
        """Name of a shown image -> set, scale and index."""
        self.panels: dict[tuple[str, int, int], dict[str, Pixels]] = {}
        """Set, scale and index of a test image -> crops of its versions, named as in `PANELS`; empty without W&B."""

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Resets the image counts."""
        self._seen = {}

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Resets the image counts."""
        self._seen = {}

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: EvalBatch | NoImage,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Shows the first images of each set."""
        if not trainer.sanity_checking:
            self._show(trainer, outputs, batch, self.n_validation, f"step{trainer.global_step:07d}")

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: EvalBatch | NoImage,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Shows the first test images of each set."""
        shown = self._show(trainer, outputs, batch, self.n_test, "test")
        if (
            shown
            and isinstance(batch, EvalBatch)
            and any(isinstance(logger, WandbLogger) for logger in trainer.loggers)
        ):
            self.panels[batch.set, batch.scale, batch.key] = cropped_panels(outputs, batch)

    def _show(self, trainer: pl.Trainer, sr: Tensor, batch: EvalBatch | NoImage, limit: int, when: str) -> bool:
        """Shows an image if it is among the first of its set; returns whether it was shown."""
        if isinstance(batch, NoImage):
            return False
        key = (batch.set, batch.scale)
        self._seen[key] = self._seen.get(key, 0) + 1
        if self._seen[key] > limit or not trainer.is_global_zero:
            return False
        pixels = np.asarray(sheet(sr, batch, zoom=self.zoom))
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{batch.set}_x{batch.scale}_{safe_stem(batch.name, self._seen[key])}"
        if self._names.setdefault(name, (*key, batch.key)) != (*key, batch.key):  # of the same name in another folder
            name = f"{name}_{self._seen[key]}"
        write_png(self.folder / f"{when}_{name}.png", pixels)
        is_test = when == "test"
        loggers = [logger for logger in trainer.loggers if not (is_test and isinstance(logger, WandbLogger))]
        log_sheet(loggers, f"{'test' if is_test else 'samples'}/{name}", pixels, trainer.global_step)
        return True


def safe_stem(name: str, number: int) -> str:
    """Returns an image's name without its suffix, made safe for file systems, pages and shells.

    Args:
        name: File name of the image.
        number: Index of the image among those shown; appended if the name has to be changed, to keep names unique.
    """
    stem = Path(name).stem
    safe = re.sub(r"[^\w (),+=@-]|^-", "_", stem.replace(".", "_"))[:_LONGEST]
    return safe if safe == stem else f"{safe}_{number}"
