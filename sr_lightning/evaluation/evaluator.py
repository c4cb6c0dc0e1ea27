"""What a method makes of an image, timed and scored: the same for validation, test and evaluation."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sr_lightning.data.batch import EvalBatch, NoImage
from sr_lightning.data.datasets import EvalImages
from sr_lightning.data.degradations.base import Degradation, to_eval_batch
from sr_lightning.evaluation.results import BICUBIC, ImageScore
from sr_lightning.image.color import shave, to_uint8
from sr_lightning.inference.predict import bicubic
from sr_lightning.metrics.psnr_ssim import psnr_and_ssim

Metric = Callable[[Tensor, Tensor], float]
"""(1, 3, H, W) uint8 of SR and HR, shaved -> a number; NaN for an image that is too small."""
Enlarge = Callable[[EvalBatch], Tensor]
"""An image -> (1, 3, h·s, w·s), uint8 or floating point."""


def score(
    sr: Tensor, batch: EvalBatch, *, method: str, seconds: float, metrics: Mapping[str, Metric] | None = None
) -> ImageScore:
    """Scores what a saved PNG would hold.

    Args:
        sr: (1, 3, h·s, w·s), uint8 or floating point.
        batch: The image.
        method: Who made it.
        seconds: How long that took.
        metrics: Further metrics by name.

    Returns:
        NaN for everything where the image is not finite: rounded to levels it would look like a number.
    """
    psnr_y = ssim_y = math.nan
    more = dict.fromkeys(metrics or {}, math.nan)
    if sr.isfinite().all():
        levels = sr if sr.dtype == torch.uint8 else to_uint8(sr)
        a, b = (shave(image, batch.scale) for image in (levels, batch.hr))
        more = {name: float(metric(a, b)) for name, metric in (metrics or {}).items()}
        psnr_y, ssim_y = (float(value) for value in psnr_and_ssim(levels, batch.hr, shave=batch.scale))
    return ImageScore(
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


def bicubic_score(batch: EvalBatch) -> ImageScore:
    """The baseline's score."""
    enlarged, seconds = timed(lambda: bicubic(batch.lr, batch.scale))
    return score(enlarged, batch, method=BICUBIC, seconds=seconds)


def timed(enlarge: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """The image and the seconds that it took."""
    start = time.perf_counter()
    enlarged = enlarge()
    if enlarged.is_cuda:
        torch.cuda.synchronize(enlarged.device)
    return enlarged, time.perf_counter() - start


@dataclass(frozen=True)
class Bench:
    """The images that one process scores methods on."""

    images: EvalImages
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
    ) -> Iterator[ImageScore]:
        """Scores one method on this process's share of the images; NaN where what it makes of one is not finite.

        Args:
            method: Its name in the scores.
            enlarge: The method.
            scales: Those it can do; None: all.
            seen: Gets each image and what became of it, (1, 3, h·s, w·s) uint8.
        """
        for index in self.images.share(self.rank, self.world_size):
            image = self.images[index]
            if isinstance(image, NoImage) or (scales is not None and image.scale not in scales):
                continue
            lr = None if image.lr is None else image.lr.to(self.device)
            batch = to_eval_batch(image._replace(hr=image.hr.to(self.device), lr=lr), self.degrade)
            sr, seconds = timed(functools.partial(enlarge, batch))
            if sr.isfinite().all():
                sr = sr if sr.dtype == torch.uint8 else to_uint8(sr)
                if seen is not None:
                    seen(batch, sr)
            yield score(sr, batch, method=method, seconds=seconds, metrics=self.metrics)
