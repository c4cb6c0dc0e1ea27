"""Placeholder with the agreed signatures: replaced by the module of the same name at the merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sr_lightning.metrics import multiscale_similarity

METRICS = ("ms_ssim", "lpips", "dists", "niqe")


@dataclass(frozen=True)
class Unavailable:
    """A metric that cannot be computed here, and why."""

    metric: str
    reason: str


class QualityMetric:
    """MS-SSIM on RGB."""

    higher_is_better = True
    protocol = "RGB"

    def __call__(self, sr: Tensor, hr: Tensor) -> float:
        """(1, 3, H, W) uint8 each."""
        return float(multiscale_similarity(sr.double(), hr.double(), data_range=255, levels=2).mean())


def build_quality(names: Sequence[str]) -> dict[str, QualityMetric | Unavailable]:
    """The metrics of those names, or why they are not to be had."""
    return {n: QualityMetric() if n == "ms_ssim" else Unavailable(n, "its weights are not here") for n in names}
