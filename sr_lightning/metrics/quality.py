"""Registry of the metrics that `evaluate metrics=[…]` offers besides PSNR and SSIM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sr_lightning.errors import UserError
from sr_lightning.metrics.base import QualityMetric, WeightsMissingError
from sr_lightning.metrics.dists import DISTS
from sr_lightning.metrics.lpips import LPIPS
from sr_lightning.metrics.lr_psnr import LRPSNR
from sr_lightning.metrics.ms_ssim import MSSSIM
from sr_lightning.metrics.niqe import NIQE
from sr_lightning.metrics.perceptual import PerceptualDistance
from sr_lightning.text import nearest

__all__ = ["METRICS", "QualityMetric", "UnavailableMetric", "build_metrics"]

# To add a metric: a file of its own and a row here. The config check reads the names from this file's text.
METRICS: dict[str, Callable[[], QualityMetric]] = {
    "ms_ssim": MSSSIM,
    "lpips": LPIPS,
    "dists": DISTS,
    "niqe": NIQE,
    "lr_psnr": LRPSNR,
    "perceptual": PerceptualDistance,
    "perceptual_lite2": partial(PerceptualDistance, "efficientnet_lite2"),
    "perceptual_hed": partial(PerceptualDistance, "vgg16_hed"),
    "texture": partial(PerceptualDistance, texture=True),
    "texture_lite2": partial(PerceptualDistance, "efficientnet_lite2", texture=True),
    "texture_hed": partial(PerceptualDistance, "vgg16_hed", texture=True),
}


@dataclass(frozen=True)
class UnavailableMetric:
    """Placeholder for a metric whose weights are not available."""

    metric: str
    reason: str


def build_metrics(names: Sequence[str]) -> dict[str, QualityMetric | UnavailableMetric]:
    """Builds metrics by name.

    Args:
        names: Keys of `METRICS`.

    Returns:
        Each name with its metric, or the reason why it is unavailable.

    Raises:
        UserError: A metric does not exist.
    """
    unknown = [f"metrics: there is no {name!r}; {nearest(name, METRICS)}" for name in names if name not in METRICS]
    if unknown:
        raise UserError("\n".join(unknown))
    return {name: _build(name) for name in names}


def _build(name: str) -> QualityMetric | UnavailableMetric:
    try:
        return METRICS[name]()
    except WeightsMissingError as error:
        return UnavailableMetric(name, str(error))
