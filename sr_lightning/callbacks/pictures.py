"""Comparison sheets: LR, bicubic, SR, HR and error of an image, whole and zoomed in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sr_lightning.data.batch import EvalBatch, NoImage
from sr_lightning.image.color import to_uint8, write_png
from sr_lightning.inference.predict import bicubic
from sr_lightning.metrics.psnr_ssim import psnr

Pixels = NDArray[np.uint8]
_PANEL = 240
_LONGEST = 40  # characters of up to four bytes; a file system takes 255 bytes
_GAP = 8
_TEXT = 20
_ERROR_GAIN = 4  # an error of 64 grey levels is shown at full brightness


class Pictures(pl.Callback):
    """Saves a sheet for the first images of each set at each validation, and for all at the final test.

    Sheets lie in `samples/` and go to W&B and TensorBoard.

    Args:
        folder: The run's folder.
        n_validation: Images of each set and scale shown at a validation.
        n_test: Images of each set and scale shown at the test.
        zoom: Side of the zoomed crop in HR pixels.
    """

    def __init__(self, *, folder: str, n_validation: int = 1, n_test: int = 8, zoom: int = 60) -> None:
        self.folder = Path(folder) / "samples"
        self.n_validation = n_validation
        self.n_test = n_test
        self.zoom = zoom
        self._seen: dict[tuple[str, int], int] = {}

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts from zero."""
        self._seen = {}

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts from zero."""
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
        """Shows the test images."""
        self._show(trainer, outputs, batch, self.n_test, "test")

    def _show(self, trainer: pl.Trainer, sr: Tensor, batch: EvalBatch | NoImage, limit: int, when: str) -> None:
        if isinstance(batch, NoImage):
            return
        key = (batch.set, batch.scale)
        self._seen[key] = self._seen.get(key, 0) + 1
        if self._seen[key] > limit or not trainer.is_global_zero:
            return
        pixels = np.asarray(sheet(sr, batch, zoom=self.zoom))
        self.folder.mkdir(parents=True, exist_ok=True)
        stem = safe_stem(batch.name, self._seen[key])
        write_png(self.folder / f"{when}_{batch.set}_x{batch.scale}_{stem}.png", pixels)
        tag = f"samples/{batch.set}_x{batch.scale}/{stem}"
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image(tag, [pixels], caption=["LR | bicubic | SR | HR | error"])
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(tag, pixels, trainer.global_step, dataformats="HWC")


def safe_stem(name: str, number: int) -> str:
    """An image's name without its suffix, as a name that any file system, page and shell accepts.

    Args:
        name: The file's.
        number: Of the image among those shown; follows where the name has to be changed, so that no two become one.
    """
    stem = Path(name).stem
    safe = re.sub(r"[^\w (),+=@-]|^-", "_", stem.replace(".", "_"))[:_LONGEST]
    return safe if safe == stem else f"{safe}_{number}"


def sheet(sr: Tensor, batch: EvalBatch, *, zoom: int = 60) -> Image.Image:
    """One sheet: the whole image in five versions above, a zoomed crop of each below.

    Args:
        sr: (1, 3, H, W) float in [0, 1].
        batch: Gives LR and HR.
        zoom: Side of the crop in HR pixels; it is taken where LR has the strongest edges.
    """
    enlarged = bicubic(batch.lr, batch.scale, kernel=batch.baseline)
    versions = {
        f"LR x{batch.scale}": _pixels(batch.lr.repeat_interleave(batch.scale, -1).repeat_interleave(batch.scale, -2)),
        f"bicubic {_db(enlarged, batch)}": _pixels(enlarged),
        f"SR {_db(sr, batch)}": _pixels(sr),
        "HR": _pixels(batch.hr),
    }
    error = np.abs(_pixels(sr).astype(np.int16) - _pixels(batch.hr)) * _ERROR_GAIN
    versions[f"|SR - HR| x{_ERROR_GAIN}"] = error.clip(0, 255).astype(np.uint8)
    top, left, side = _most_edges(batch.lr, batch.scale, zoom)
    width, height = _fitted(batch.hr.shape[-1], batch.hr.shape[-2])
    page = Image.new("RGB", (len(versions) * (_PANEL + _GAP) + _GAP, _TEXT + height + _PANEL + 3 * _GAP), "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=13)
    for column, (caption, pixels) in enumerate(versions.items()):
        x = _GAP + column * (_PANEL + _GAP)
        draw.text((x, 3), caption, fill="black", font=font)
        whole = Image.fromarray(pixels)
        ImageDraw.Draw(whole).rectangle((left, top, left + side - 1, top + side - 1), outline="red", width=2)
        page.paste(whole.resize((width, height), Image.Resampling.LANCZOS), (x, _TEXT))
        crop = Image.fromarray(pixels[top : top + side, left : left + side])
        page.paste(crop.resize((_PANEL, _PANEL), Image.Resampling.NEAREST), (x, _TEXT + height + _GAP))
    return page


def _pixels(x: Tensor) -> Pixels:
    levels = x if x.dtype == torch.uint8 else to_uint8(x)
    return levels[0].permute(1, 2, 0).cpu().numpy()  # (H, W, 3)


def _db(x: Tensor, batch: EvalBatch) -> str:
    return f"{float(psnr(x, batch.hr, shave=batch.scale)):.2f} dB"


def _fitted(width: int, height: int) -> tuple[int, int]:
    ratio = _PANEL / max(width, height)
    return max(round(width * ratio), 1), max(round(height * ratio), 1)


def _most_edges(lr: Tensor, scale: int, side: int) -> tuple[int, int, int]:
    """Top, left and side of the HR square where LR has the strongest edges: what a network can restore.

    It depends on the image only, so that all networks are shown at the same place.
    """
    side = max(min(side // scale, *lr.shape[-2:]), 1)
    grey = lr.float().mean(1, keepdim=True)  # (1, 1, h, w)
    edges = grey.diff(dim=-1, append=grey[..., -1:]).abs() + grey.diff(dim=-2, append=grey[..., -1:, :]).abs()
    stride = max(side // 4, 1)
    means = torch.nn.functional.avg_pool2d(edges, side, stride=stride)[0, 0]
    row, column = divmod(int(means.argmax()), means.shape[1])
    return row * stride * scale, column * stride * scale, side * scale
