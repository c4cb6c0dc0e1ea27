"""What a method makes of a picture, timed and scored: the same for validation, test and evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from sr_lightning.data.batch import EvalBatch
from sr_lightning.image import to_uint8
from sr_lightning.inference import bicubic
from sr_lightning.metrics import psnr, ssim
from sr_lightning.results import BICUBIC, PictureScore

Metric = Callable[[Tensor, Tensor], float]
"""(1, 3, H, W) SR and HR in [0, 1], on the levels of an 8-bit file -> a number."""


def score(
    sr: Tensor, batch: EvalBatch, *, method: str, seconds: float, metrics: Mapping[str, Metric] | None = None
) -> PictureScore:
    """Scores what a saved PNG would hold.

    Args:
        sr: (1, 3, h·s, w·s), uint8 or floating point.
        batch: The picture.
        method: Who made it.
        seconds: How long that took.
        metrics: Further metrics by name.
    """
    levels = sr if sr.dtype == torch.uint8 else to_uint8(sr)
    more = {}
    if metrics:
        a, b = levels.float() / 255, batch.hr.float() / 255
        more = {name: float(metric(a, b)) for name, metric in metrics.items()}
    return PictureScore(
        set=batch.set,
        scale=batch.scale,
        name=batch.name,
        key=batch.key,
        method=method,
        psnr_y=float(psnr(levels, batch.hr, shave=batch.scale)),
        ssim_y=float(ssim(levels, batch.hr, shave=batch.scale)),
        seconds=seconds,
        more=more,
    )


def bicubic_score(batch: EvalBatch, *, metrics: Mapping[str, Metric] | None = None) -> PictureScore:
    """The baseline's score."""
    enlarged, seconds = timed(lambda: bicubic(batch.lr, batch.scale))
    return score(enlarged, batch, method=BICUBIC, seconds=seconds, metrics=metrics)


def timed(enlarge: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """The picture and the seconds that it took."""
    start = time.perf_counter()
    enlarged = enlarge()
    if enlarged.is_cuda:
        torch.cuda.synchronize(enlarged.device)
    return enlarged, time.perf_counter() - start
