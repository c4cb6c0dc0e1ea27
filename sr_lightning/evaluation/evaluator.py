"""PSNR-Y, SSIM-Y and further metrics for a single prediction."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from sr_lightning.data.batch import EvalBatch
from sr_lightning.evaluation.predictions import Prediction, measure_time, quantised
from sr_lightning.evaluation.scores import BICUBIC, ImageScore, MethodId
from sr_lightning.image.color import shave
from sr_lightning.inference.predict import bicubic
from sr_lightning.metrics.psnr_ssim import psnr_and_ssim

Metric = Callable[[Tensor, Tensor], float]
"""Maps SR and HR, shaved, (1, 3, H, W) uint8 -> a number; NaN if the image is too small. See `QualityMetric`."""


def score(prediction: Prediction, method: MethodId, metrics: Mapping[str, Metric] | None = None) -> ImageScore:
    """Scores a prediction.

    Args:
        prediction: The prediction, with its ground truth.
        method: The method that made it.
        metrics: Further metrics by name.

    Returns:
        The score; NaN for every metric if the method's output is not finite.
    """
    batch, image = prediction.batch, prediction.image
    psnr_y = ssim_y = math.nan
    more = dict.fromkeys(metrics or {}, math.nan)
    if image is not None:
        shaved = [shave(x, batch.scale) for x in (image, batch.hr)]
        more = {
            name: float(metric(image, batch.lr) if getattr(metric, "takes_lr", False) else metric(*shaved))
            for name, metric in (metrics or {}).items()
        }
        psnr_y, ssim_y = (float(value) for value in psnr_and_ssim(image, batch.hr, shave=batch.scale))
    return ImageScore(
        set=batch.set,
        scale=batch.scale,
        name=batch.name,
        key=batch.key,
        method=method,
        psnr_y=psnr_y,
        ssim_y=ssim_y,
        seconds=prediction.seconds,
        more=more,
    )


def score_output(
    sr: Tensor, batch: EvalBatch, *, method: MethodId, seconds: float, metrics: Mapping[str, Metric] | None = None
) -> ImageScore:
    """Scores a network's output, (1, 3, h·s, w·s) uint8 or floating point in [0, 1]."""
    return score(Prediction(batch, quantised(sr), seconds), method, metrics)


def bicubic_score(batch: EvalBatch, metrics: Mapping[str, Metric] | None = None) -> ImageScore:
    """Returns the score of the bicubic baseline."""
    sr, seconds = measure_time(lambda: bicubic(batch.lr, batch.scale, kernel=batch.baseline))
    return score_output(sr, batch, method=BICUBIC, seconds=seconds, metrics=metrics)
