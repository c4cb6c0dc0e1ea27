"""Entries of a comparison: the methods of each run and their figures, robust to arbitrary file content."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sr_lightning.config.metrics_check import is_metric_name
from sr_lightning.runs.record import RunRecord, Status, as_number
from sr_lightning.text import single_line, spreadsheet_cell

BICUBIC = "bicubic"
LOWER_IS_BETTER = (
    *("lpips", "dists", "niqe"),
    *("perceptual", "perceptual_lite2", "perceptual_hed", "texture", "texture_lite2", "texture_hed"),
)
"""Further metrics for which lower is better: the perceptual ones. For all others, higher is better."""
METRICS = (*LOWER_IS_BETTER, "ms_ssim", "lr_psnr")
"""Further metrics that a run may have recorded, as in `metrics.quality`."""
_LONGEST = 80  # maximum characters of a name
_LARGEST_SCALE = 64
_ALIKE = 0.02  # dB by which bicubic's PSNR of the same image differs at most between machines
NO_PROTOCOL = {"hardware", "tile", "self_ensemble", "precision", "lr_ready_made"}
"""Protocol entries of results.json that describe the method or the machine rather than the protocol."""


class At(NamedTuple):
    """A test set at one scale."""

    set: str
    scale: int


class Image(NamedTuple):
    """An image of a test set: its index and its name."""

    key: int
    name: str


@dataclass(frozen=True)
class Figures:
    """Figures of one method on one set at one scale."""

    psnr_y: float
    """Mean; infinite if an image is reproduced exactly."""
    ssim_y: float
    images: int
    more: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    """Seconds per image."""
    multiply_adds: float | None = None
    latency: float | None = None
    """Seconds for an SR image of 1280x720."""

    def value(self, metric: str) -> float:
        """Returns a figure by name; NaN if it was not recorded."""
        own = {"psnr_y": self.psnr_y, "ssim_y": self.ssim_y}
        return own[metric] if metric in own else self.more.get(metric, math.nan)


@dataclass(frozen=True)
class Entry:
    """One trained network, or the images of one program, with all that is known about it."""

    folder: Path
    """Folder of the run that holds the figures."""
    method: str
    checkpoint: str | None
    is_training: bool
    """Whether the run trained the network; False if it only evaluated it."""
    status: Status
    reason: str
    settings: Mapping[str, Any]
    """Settings of the training; empty if unknown."""
    seed: int | None = None
    figures: Mapping[At, Figures] = field(default_factory=dict)
    images: Mapping[At, Mapping[Image, Mapping[str, float]]] = field(default_factory=dict)
    """Set -> image -> figure by name, including `bicubic_psnr_y` and `bicubic_ssim_y`."""
    bicubic: Mapping[At, Figures] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    params: float | None = None
    minutes: float | None = None
    """Duration of the training."""
    steps: float | None = None
    gain: float | None = None
    """Gain over bicubic at the best validation, in dB."""
    command: str = ""
    split: str = "test"
    predictions: str | None = None
    """Folder of images made by another program."""
    curve: Sequence[tuple[float, float]] = ()
    """See `learning_curve`."""


def own_metrics(records: Iterable[RunRecord]) -> dict[str, bool]:
    """The user's own metrics with safe names, and whether higher is better, as the first run that has them states."""
    found: dict[str, bool] = {}
    for record in records:
        said = record.results.get("higher_is_better")
        for name, is_higher in said.items() if isinstance(said, dict) else ():
            if is_metric_name(name) and name not in METRICS and isinstance(is_higher, bool):
                found.setdefault(name, is_higher)
    return found


def is_higher_better(metric: str, own: Mapping[str, bool]) -> bool:
    """Returns whether higher is better for any metric; `own` is the result of `own_metrics`."""
    return own.get(metric, metric not in LOWER_IS_BETTER)


def entries_of(record: RunRecord, further: Iterable[str] = ()) -> list[Entry]:
    """A run's methods except bicubic: one for a training, any number for an evaluation; `further`: own metrics."""
    results, common = record.results, _common(record)
    metrics = (*METRICS, *further)
    rows = [row for row in results.get("rows", []) if _at(row) is not None]
    own = [row for row in rows if row.get("method") != BICUBIC]
    if not own:
        is_open = record.is_training or (record.config and not record.results)  # not an evaluation of bicubic alone
        return [Entry(method=_network(record), checkpoint=None, **common)] if is_open else []
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in own:
        groups.setdefault((plain_name(row.get("method")), str(row.get("checkpoint") or "")), []).append(row)
    found = []
    for (method, checkpoint), members in groups.items():
        first = members[0]
        seed = first.get("seed") if not record.is_training else record.config.get("seed")
        found.append(
            Entry(
                method=method,
                checkpoint=checkpoint or None,
                seed=seed if type(seed) is int else None,
                figures=_figures(members, metrics),
                images=_images(record, method, checkpoint, metrics),
                bicubic=_figures([row for row in rows if row.get("method") == BICUBIC], metrics),
                params=as_number(first.get("params")),
                predictions=plain_name(first["predictions"]) if isinstance(first.get("predictions"), str) else None,
                **common,
            )
        )
    return found


def same_images(a: Entry, b: Entry, at: At) -> bool:
    """Returns whether two methods were scored on the same images, downscaled in the same way.

    Compares bicubic's PSNR of each image, which depends on the image and its LR but not on a network.
    """
    first, second = a.images.get(at), b.images.get(at)
    if first is None or second is None:  # no per-image figures: compare the means
        one, other = a.bicubic.get(at), b.bicubic.get(at)
        return one is not None and other is not None and one.images == other.images and _close(one.psnr_y, other.psnr_y)
    return first.keys() == second.keys() and all(
        _close(first[i].get("bicubic_psnr_y", math.nan), second[i].get("bicubic_psnr_y", math.nan)) for i in first
    )


def same_protocol(a: Entry, b: Entry) -> list[str]:
    """Keys in which two protocols differ; keys that only one of them has are ignored, as older runs have fewer."""
    both = (a.protocol.keys() & b.protocol.keys()) - NO_PROTOCOL
    return sorted(key for key in both if a.protocol[key] != b.protocol[key])


def _close(a: float, b: float) -> bool:
    return a == b or abs(a - b) < _ALIKE


def _common(record: RunRecord) -> dict[str, Any]:
    """Returns the fields that all methods of a run share."""
    results = record.results
    protocol, run = results.get("protocol"), results.get("run")
    command = run.get("command") if isinstance(run, dict) else None
    return {
        "folder": record.folder,
        "is_training": record.is_training,
        "status": record.status,
        "reason": record.reason,
        "settings": record.config if record.is_training else {},
        "protocol": {str(k): str(v) for k, v in protocol.items()} if isinstance(protocol, dict) else {},
        "minutes": as_number(results.get("minutes")) if record.is_training else None,
        "steps": as_number(results.get("steps")),
        "gain": as_number(results.get("objective")) if record.is_training else None,
        "command": command if isinstance(command, str) else "",
        "split": plain_name(results.get("split", "test")),
        "curve": learning_curve(record),
    }


def learning_curve(record: RunRecord) -> list[tuple[float, float]]:
    """Returns (step, val/gain in dB) for each validation."""
    points = [(as_number(row.get("step")), as_number(row.get("val/gain"))) for row in record.metrics]
    return [(step, gain) for step, gain in points if step is not None and gain is not None]


def _network(record: RunRecord) -> str:
    """Returns the network class named in the config."""
    return plain_name(str(record.config.get("model._target_", "unknown")).rpartition(".")[2])


def plain_name(value: object) -> str:
    """Sanitises a name from a file: single line, no terminal control characters, limited length."""
    text = single_line(str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _at(row: Mapping[str, Any]) -> At | None:
    name, scale = row.get("set"), as_number(row.get("scale"))
    if not isinstance(name, str) or scale is None or not scale.is_integer() or not 1 <= scale <= _LARGEST_SCALE:
        return None
    return At(plain_name(name), int(scale))


def _figures(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> dict[At, Figures]:
    found = {}
    for row in rows:
        psnr, count = as_number(row.get("psnr_y")), as_number(row.get("images"))
        if psnr is None:
            psnr = math.inf if row.get("exact_images") else math.nan
        more = {name: value for name in metrics if (value := as_number(row.get(name))) is not None}
        at = _at(row)
        assert at is not None  # checked by the caller
        found[at] = Figures(
            psnr_y=psnr,
            ssim_y=_or_nan(as_number(row.get("ssim_y"))),
            images=int(count or 0),
            more=more,
            seconds=as_number(row.get("seconds_per_image")),
            multiply_adds=as_number(row.get("multiply_adds")),
            latency=as_number(row.get("latency_seconds")),
        )
    return found


def _images(
    record: RunRecord, method: str, checkpoint: str, metrics: Sequence[str]
) -> dict[At, dict[Image, dict[str, float]]]:
    found: dict[At, dict[Image, dict[str, float]]] = {}
    own = (spreadsheet_cell(method), spreadsheet_cell(checkpoint))
    columns = ("psnr_y", "ssim_y", "bicubic_psnr_y", "bicubic_ssim_y", "gain", *metrics)
    for row in record.images:
        at, key = _at(row), as_number(row.get("key"))
        if at is None or key is None or (plain_name(row.get("method", "")), row.get("checkpoint", "")) != own:
            continue
        values = {name: _figure(row[name]) for name in columns if name in row}
        found.setdefault(at, {})[Image(int(key), plain_name(row.get("name", "")))] = values
    return {at: dict(sorted(images.items())) for at, images in found.items()}


def _figure(text: str) -> float:
    return math.inf if text == "inf" else _or_nan(as_number(text))


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
