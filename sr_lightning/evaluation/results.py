"""Scores of images: gathered over ranks, summarised over each set, written as files."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch.distributed

from sr_lightning.files import write_atomically
from sr_lightning.metrics.psnr_ssim import PROTOCOL
from sr_lightning.text import natural_key

BICUBIC = "bicubic"
"""The method that stands in every table, and from which gains are counted."""


@dataclass(frozen=True)
class ImageScore:
    """What one method made of one image; PSNR in dB, infinite for equal images, NaN for an image that is none."""

    set: str
    scale: int
    name: str
    key: int
    """The image's number in its set."""
    method: str
    psnr_y: float
    ssim_y: float
    seconds: float
    more: Mapping[str, float] = field(default_factory=dict)
    """Further metrics that were asked for."""

    @property
    def image(self) -> tuple[str, int, int]:
        """Set, scale and number: what the scores of two methods are paired by."""
        return self.set, self.scale, self.key


def gain(psnr: float, bicubic: float) -> float:
    """Decibels above bicubic; two images that are both exact are equally good (inf - inf is no number)."""
    return 0.0 if psnr == bicubic else psnr - bicubic


def refused(scores: Iterable[ImageScore]) -> dict[tuple[str, str, int], list[str]]:
    """Method, set and scale of which no row can be given -> the images for which NaN or infinity came out."""
    found: dict[tuple[str, str, int], list[str]] = {}
    for score in scores:
        if math.isnan(score.psnr_y):
            found.setdefault((score.method, score.set, score.scale), []).append(score.name)
    return found


@dataclass(frozen=True)
class SetScore:
    """Means over the images of one set at one scale; of the times the median (the first holds a warm-up)."""

    set: str
    scale: int
    method: str
    images: int
    psnr_y: float
    ssim_y: float
    gain: float
    """Decibels above bicubic."""
    lowest_gain: float
    """Gain of the image that gained least."""
    seconds: float
    more: Mapping[str, float]


def gathered(scores: list[ImageScore]) -> list[ImageScore]:
    """All ranks' scores, on every rank, in an order that does not depend on the number of ranks."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts: list[list[ImageScore] | None] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, scores)
        scores = [score for part in parts for score in part or []]
    # The methods of an image stay in their order.
    return sorted(scores, key=lambda s: [natural_key(text) for text in (s.set, str(s.scale), s.name, str(s.key))])


def baselines(scores: Iterable[ImageScore]) -> dict[tuple[str, int, int], ImageScore]:
    """Bicubic's score of each image."""
    return {score.image: score for score in scores if score.method == BICUBIC}


def summarise(scores: Sequence[ImageScore]) -> list[SetScore]:
    """Per image first, then the mean over a set (never one PSNR of the pooled error).

    Args:
        scores: Bicubic's are among them.

    Returns:
        One row for each set, scale and method in their order, bicubic's first.
    """
    bicubic = baselines(scores)
    groups: dict[tuple[str, int], dict[str, list[ImageScore]]] = {}
    for score in scores:
        methods = groups.setdefault((score.set, score.scale), {BICUBIC: []})
        methods.setdefault(score.method, []).append(score)
    return [_mean(group, bicubic) for methods in groups.values() for group in methods.values()]


def _mean(group: Sequence[ImageScore], bicubic: Mapping[tuple[str, int, int], ImageScore]) -> SetScore:
    first = group[0]
    gains = [gain(score.psnr_y, bicubic[score.image].psnr_y) for score in group]
    return SetScore(
        set=first.set,
        scale=first.scale,
        method=first.method,
        images=len(group),
        psnr_y=statistics.fmean(score.psnr_y for score in group),
        ssim_y=statistics.fmean(score.ssim_y for score in group),
        gain=statistics.fmean(gains),
        lowest_gain=min(gains),
        seconds=statistics.median(score.seconds for score in group),
        more={name: _known_mean(score.more[name] for score in group) for name in first.more},
    )


def _known_mean(values: Iterable[float]) -> float:
    """Of those that are numbers: a metric has none for an image that is too small for it."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else math.nan


def logged(rows: Iterable[SetScore], stage: str) -> dict[str, float]:
    """`<stage>/<set>/x<scale>/psnr_y`, `ssim_y`, and bicubic's beside them: the names of logged values."""
    values: dict[str, float] = {}
    for row in rows:
        prefix = f"{stage}/{row.set}/x{row.scale}/" + ("bicubic_" if row.method == BICUBIC else "")
        values |= {f"{prefix}psnr_y": row.psnr_y, f"{prefix}ssim_y": row.ssim_y}
    return values


def write_results(
    folder: Path,
    scores: Sequence[ImageScore],
    *,
    facts: Mapping[str, Mapping[str, Any]],
    protocol: Mapping[str, Any],
    costs: Mapping[tuple[str, int], Mapping[str, Any]] | None = None,
    extra: Mapping[str, Any],
) -> None:
    """Writes `per_image.csv`, then `results.json`, whose presence says that the run is finished.

    Args:
        folder: The run's folder.
        scores: One for each image and method, bicubic's among them.
        facts: What each method's rows say besides, such as its `checkpoint` and `params`. `per_image.csv` holds
            rows of these methods only; bicubic's figures stand beside each.
        protocol: What differs from `PROTOCOL`, or is added to it.
        costs: What each method costs at each scale.
        extra: More top-level entries, e.g. the objective.
    """
    _write_per_image(folder / "per_image.csv", scores, facts)
    document = {
        "protocol": {**PROTOCOL, **protocol},
        "rows": [
            _row(row) | {**facts.get(row.method, {}), **(costs or {}).get((row.method, row.scale), {})}
            for row in summarise(scores)
        ],
        **extra,
    }
    write_atomically(folder / "results.json", json.dumps(_finite(document), indent=1, ensure_ascii=False))


def _row(row: SetScore) -> dict[str, Any]:
    gains = {} if row.method == BICUBIC else {"gain": row.gain, "lowest_gain": row.lowest_gain}
    return {
        "set": row.set,
        "scale": row.scale,
        "images": row.images,
        "method": row.method,
        "checkpoint": None,
        "psnr_y": row.psnr_y,
        "ssim_y": row.ssim_y,
        **gains,
        **row.more,
        "params": 0,
        "seconds_per_image": row.seconds,
    }


def _write_per_image(path: Path, scores: Sequence[ImageScore], facts: Mapping[str, Mapping[str, Any]]) -> None:
    bicubic = baselines(scores)
    rows = []
    for score in scores:
        if score.method not in facts:
            continue
        base, said = bicubic[score.image], facts[score.method]
        rows.append(
            {
                "set": score.set,
                "scale": score.scale,
                "name": score.name,
                "key": score.key,
                "method": said.get("method", score.method),
                "checkpoint": said.get("checkpoint"),
                "psnr_y": score.psnr_y,
                "ssim_y": score.ssim_y,
                "bicubic_psnr_y": base.psnr_y,
                "bicubic_ssim_y": base.ssim_y,
                "seconds": score.seconds,
                "bicubic_seconds": base.seconds,
                "gain": gain(score.psnr_y, base.psnr_y),
                **score.more,
            }
        )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def _finite(value: Any) -> Any:
    """JSON knows no infinity: an infinite PSNR is null."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
