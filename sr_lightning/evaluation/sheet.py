"""Comparison sheets: LR, bicubic, SR, HR and error of an image, whole and zoomed in."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sr_lightning.data.batch import EvalBatch
from sr_lightning.image.color import to_uint8
from sr_lightning.inference.predict import bicubic
from sr_lightning.metrics.psnr_ssim import psnr

Pixels = NDArray[np.uint8]
PANELS = ("LR", "bicubic", "SR", "HR", "error")
"""Versions of an image shown in sheets and tables."""
_PANEL = 240
_GAP = 8
_TEXT = 20
_ERROR_GAIN = 4  # an error of 64 grey levels is shown at full brightness


def sheet(sr: Tensor, batch: EvalBatch, *, zoom: int = 60) -> Image.Image:
    """Draws a sheet: five versions of the whole image above, a zoomed crop of each below.

    Args:
        sr: (1, 3, H, W) float in [0, 1].
        batch: Provides LR and HR.
        zoom: Side of the crop in HR pixels; its position is where LR has the strongest edges.
    """
    parts = _versions(sr, batch)
    enlarged = bicubic(batch.lr, batch.scale, kernel=batch.baseline)
    captions = {
        "LR": f"LR x{batch.scale}",
        "bicubic": f"bicubic {_db(enlarged, batch)}",
        "SR": f"SR {_db(sr, batch)}",
        "HR": "HR",
        "error": f"|SR - HR| x{_ERROR_GAIN}",
    }
    versions = {captions[name]: parts[name] for name in PANELS}
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


def cropped_panels(sr: Tensor, batch: EvalBatch, *, side: int = 192) -> dict[str, Pixels]:
    """Returns the same crop of each version of an image, (H, W, 3), named as in `PANELS`.

    Args:
        sr: (1, 3, H, W) float in [0, 1].
        batch: Provides LR and HR.
        side: Side of the crop in HR pixels; its position is where LR has the strongest edges.
    """
    top, left, side = _most_edges(batch.lr, batch.scale, side)
    return {name: x[top : top + side, left : left + side] for name, x in _versions(sr, batch).items()}


def _versions(sr: Tensor, batch: EvalBatch) -> dict[str, Pixels]:
    """Returns LR (pixels repeated), bicubic, SR, HR and the error, (H, W, 3) each."""
    hr, own = _pixels(batch.hr), _pixels(sr)
    error = np.abs(own.astype(np.int16) - hr) * _ERROR_GAIN
    return {
        "LR": _pixels(batch.lr.repeat_interleave(batch.scale, -1).repeat_interleave(batch.scale, -2)),
        "bicubic": _pixels(bicubic(batch.lr, batch.scale, kernel=batch.baseline)),
        "SR": own,
        "HR": hr,
        "error": error.clip(0, 255).astype(np.uint8),
    }


def _pixels(x: Tensor) -> Pixels:
    levels = x if x.dtype == torch.uint8 else to_uint8(x)
    return levels[0].permute(1, 2, 0).cpu().numpy()  # (H, W, 3)


def _db(x: Tensor, batch: EvalBatch) -> str:
    return f"{float(psnr(x, batch.hr, shave=batch.scale)):.2f} dB"


def _fitted(width: int, height: int) -> tuple[int, int]:
    ratio = _PANEL / max(width, height)
    return max(round(width * ratio), 1), max(round(height * ratio), 1)


def _most_edges(lr: Tensor, scale: int, side: int) -> tuple[int, int, int]:
    """Returns top, left and side of the HR square where LR has the strongest edges, which a network can restore.

    It depends only on the image, so that all networks are shown at the same place.
    """
    side = max(min(side // scale, *lr.shape[-2:]), 1)
    grey = lr.float().mean(1, keepdim=True)  # (1, 1, h, w)
    edges = grey.diff(dim=-1, append=grey[..., -1:]).abs() + grey.diff(dim=-2, append=grey[..., -1:, :]).abs()
    stride = max(side // 4, 1)
    means = torch.nn.functional.avg_pool2d(edges, side, stride=stride)[0, 0]
    row, column = divmod(int(means.argmax()), means.shape[1])
    return row * stride * scale, column * stride * scale, side * scale
