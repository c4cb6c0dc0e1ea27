"""PSNR, SSIM and further metrics of single images, and their means over test sets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch.distributed

from sr_lightning.text import enumerated, natural_key


class MethodId(NamedTuple):
    """Identity of a method within one evaluation."""

    label: str
    """Name in tables; shared by checkpoints that differ only in their training seed."""
    source: str | None = None
    """The checkpoint, or the folder of another program's images; None for bicubic."""


BICUBIC = MethodId("bicubic")
"""The baseline in every table, against which gains are measured."""


@dataclass(frozen=True)
class ImageScore:
    """Metrics of one method on one image; PSNR in dB, infinite for identical images, NaN for a non-finite output."""

    set: str
    scale: int
    name: str
    key: int
    """Index of the image in its set."""
    method: MethodId
    psnr_y: float
    ssim_y: float
    seconds: float | None
    """Inference time; None for images made by another program."""
    more: Mapping[str, float] = field(default_factory=dict)
    """Further metrics, as requested."""

    @property
    def image(self) -> tuple[str, int, int]:
        """Set, scale and index, by which the scores of two methods are paired."""
        return self.set, self.scale, self.key


@dataclass(frozen=True)
class SetScore:
    """Means over the images of one set at one scale; for inference times the median (the first is a warm-up)."""

    set: str
    scale: int
    method: MethodId
    images: int
    psnr_y: float
    """Infinite if an image is reproduced exactly."""
    ssim_y: float
    gain: float
    """Decibels above bicubic, over the images that neither method reproduces exactly."""
    lowest_gain: float
    """Smallest gain on a single one of these images."""
    seconds: float | None
    more: Mapping[str, float]
    exact: tuple[str, ...] = ()
    """Names of the images that are reproduced exactly (infinite PSNR)."""
    finite_psnr_y: float = math.nan
    """Mean over the other images; NaN if there are none."""

    @property
    def exactness(self) -> str:
        """Sentence about the images that are reproduced exactly; empty if there are none."""
        if not self.exact:
            return ""
        names, others = enumerated(self.exact, most=3), self.images - len(self.exact)
        rest = f"; mean of the other {others}: {self.finite_psnr_y:.2f} dB" if others else ""
        what = "images is" if len(self.exact) == 1 else "images are"
        return (
            f"{self.set} x{self.scale}, {self.method.label}: {len(self.exact)} of {self.images} {what} identical to HR "
            f"(infinite PSNR): {names}{rest}"
        )


def gain(psnr: float, bicubic: float) -> float:
    """Returns the decibels above bicubic; 0 if both images are exact (inf - inf is undefined)."""
    return 0.0 if psnr == bicubic else psnr - bicubic


def non_finite(scores: Iterable[ImageScore]) -> dict[tuple[MethodId, str, int], list[str]]:
    """Maps method, set and scale without a valid mean -> images whose output contains NaN or infinity."""
    found: dict[tuple[MethodId, str, int], list[str]] = {}
    for score in scores:
        if math.isnan(score.psnr_y):
            found.setdefault((score.method, score.set, score.scale), []).append(score.name)
    return found


def gather_scores(scores: list[ImageScore]) -> list[ImageScore]:
    """Gathers the scores of all ranks on every rank, in an order independent of the number of ranks."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts: list[list[ImageScore] | None] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, scores)
        scores = [score for part in parts for score in part or []]
    # The methods of an image keep their order.
    return sorted(scores, key=lambda s: [natural_key(text) for text in (s.set, str(s.scale), s.name, str(s.key))])


def bicubic_scores(scores: Iterable[ImageScore]) -> dict[tuple[str, int, int], ImageScore]:
    """Returns bicubic's score of each image."""
    return {score.image: score for score in scores if score.method == BICUBIC}


def summarise(scores: Sequence[ImageScore]) -> list[SetScore]:
    """Averages over the images of each set (never a single PSNR of the pooled error).

    Args:
        scores: Scores that include bicubic's.

    Returns:
        One row per set, scale and method, in order, with bicubic first.
    """
    bicubic = bicubic_scores(scores)
    groups: dict[tuple[str, int], dict[MethodId, list[ImageScore]]] = {}
    for score in scores:
        methods = groups.setdefault((score.set, score.scale), {BICUBIC: []})
        methods.setdefault(score.method, []).append(score)
    return [_mean_score(group, bicubic) for methods in groups.values() for group in methods.values()]


def _mean_score(group: Sequence[ImageScore], bicubic: Mapping[tuple[str, int, int], ImageScore]) -> SetScore:
    first = group[0]
    differences = [gain(score.psnr_y, bicubic[score.image].psnr_y) for score in group]
    exact = [math.inf in (score.psnr_y, bicubic[score.image].psnr_y) for score in group]
    # An infinite difference cannot enter a mean; if all images are exact, there are no others.
    gains = [value for value, is_exact in zip(differences, exact, strict=True) if not is_exact] or differences
    finite = [score.psnr_y for score in group if score.psnr_y != math.inf]
    times = [score.seconds for score in group if score.seconds is not None]
    return SetScore(
        set=first.set,
        scale=first.scale,
        method=first.method,
        images=len(group),
        psnr_y=statistics.fmean(score.psnr_y for score in group),
        ssim_y=statistics.fmean(score.ssim_y for score in group),
        gain=statistics.fmean(gains),
        lowest_gain=min(gains),
        seconds=statistics.median(times) if times else None,
        more={name: mean_without_nan(score.more[name] for score in group) for name in first.more},
        exact=tuple(score.name for score in group if score.psnr_y == math.inf),
        finite_psnr_y=statistics.fmean(finite) if finite else math.nan,
    )


def mean_without_nan(values: Iterable[float]) -> float:
    """Averages without NaN, the value for images that are too small for a metric."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else math.nan


def logged_values(rows: Iterable[SetScore], stage: str) -> dict[str, float]:
    """Returns the values to log: `<stage>/<set>/x<scale>/psnr_y`, `ssim_y` and further metrics, and those of bicubic.

    PSNR is the mean without exact images, if there are others.
    """
    values: dict[str, float] = {}
    for row in rows:
        prefix = f"{stage}/{row.set}/x{row.scale}/" + ("bicubic_" if row.method == BICUBIC else "")
        psnr = row.finite_psnr_y if math.isfinite(row.finite_psnr_y) else row.psnr_y
        values |= {f"{prefix}psnr_y": psnr, f"{prefix}ssim_y": row.ssim_y}
        values |= {f"{prefix}{name}": value for name, value in row.more.items()}
    return values
