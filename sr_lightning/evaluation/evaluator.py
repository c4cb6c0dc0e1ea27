"""What a method makes of a picture, timed and scored: the same for validation, test and evaluation."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sr_lightning.data.batch import EvalBatch, NoPicture
from sr_lightning.data.datasets import EvalPictures
from sr_lightning.data.degradations.base import Degradation, to_eval_batch
from sr_lightning.evaluation.results import BICUBIC, PictureScore
from sr_lightning.image.color import shave, to_uint8
from sr_lightning.inference.predict import bicubic
from sr_lightning.metrics.psnr_ssim import psnr_and_ssim

Metric = Callable[[Tensor, Tensor], float]
"""(1, 3, H, W) uint8 of SR and HR, shaved -> a number; NaN for a picture that is too small."""
Enlarge = Callable[[EvalBatch], Tensor]
"""A picture -> (1, 3, h·s, w·s), uint8 or floating point."""


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

    Returns:
        NaN for everything where the picture is not finite: rounded to levels it would look like a number.
    """
    psnr_y = ssim_y = math.nan
    more = dict.fromkeys(metrics or {}, math.nan)
    if sr.isfinite().all():
        levels = sr if sr.dtype == torch.uint8 else to_uint8(sr)
        a, b = (shave(picture, batch.scale) for picture in (levels, batch.hr))
        more = {name: float(metric(a, b)) for name, metric in (metrics or {}).items()}
        psnr_y, ssim_y = (float(value) for value in psnr_and_ssim(levels, batch.hr, shave=batch.scale))
    return PictureScore(
        set=batch.set,
        scale=batch.scale,
        name=batch.name,
        key=batch.key,
        method=method,
        psnr_y=psnr_y,
        ssim_y=ssim_y,
        seconds=seconds,
        more=more,
    )


def bicubic_score(batch: EvalBatch) -> PictureScore:
    """The baseline's score."""
    enlarged, seconds = timed(lambda: bicubic(batch.lr, batch.scale))
    return score(enlarged, batch, method=BICUBIC, seconds=seconds)


def timed(enlarge: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """The picture and the seconds that it took."""
    start = time.perf_counter()
    enlarged = enlarge()
    if enlarged.is_cuda:
        torch.cuda.synchronize(enlarged.device)
    return enlarged, time.perf_counter() - start


@dataclass(frozen=True)
class Bench:
    """The pictures that one process scores methods on."""

    pictures: EvalPictures
    degrade: Degradation
    device: torch.device
    rank: int = 0
    world_size: int = 1
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    def run(
        self,
        method: str,
        enlarge: Enlarge,
        *,
        scales: Collection[int] | None = None,
        seen: Callable[[EvalBatch, Tensor], None] | None = None,
    ) -> Iterator[PictureScore]:
        """Scores one method on this process's share of the pictures; NaN where what it makes of one is not finite.

        Args:
            method: Its name in the scores.
            enlarge: The method.
            scales: Those it can do; None: all.
            seen: Gets each picture and what became of it, (1, 3, h·s, w·s) uint8.
        """
        for index in self.pictures.share(self.rank, self.world_size):
            picture = self.pictures[index]
            if isinstance(picture, NoPicture) or (scales is not None and picture.scale not in scales):
                continue
            lr = None if picture.lr is None else picture.lr.to(self.device)
            batch = to_eval_batch(picture._replace(hr=picture.hr.to(self.device), lr=lr), self.degrade)
            sr, seconds = timed(functools.partial(enlarge, batch))
            if sr.isfinite().all():
                sr = sr if sr.dtype == torch.uint8 else to_uint8(sr)
                if seen is not None:
                    seen(batch, sr)
            yield score(sr, batch, method=method, seconds=seconds, metrics=self.metrics)
