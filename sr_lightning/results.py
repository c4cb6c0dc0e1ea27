"""Rows of results: gathered over ranks, summarised over pictures, written as files, shown as a table."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch.distributed
from rich import box
from rich.table import Table

from sr_lightning.metrics import PROTOCOL


@dataclass(frozen=True)
class PictureResult:
    """One picture of one set at one scale; PSNR in dB, infinite for equal pictures."""

    set: str
    scale: int
    name: str
    psnr_y: float
    ssim_y: float
    bicubic_psnr_y: float
    bicubic_ssim_y: float
    seconds: float
    bicubic_seconds: float

    @property
    def gain(self) -> float:
        """Decibels above bicubic."""
        return self.psnr_y - self.bicubic_psnr_y


@dataclass(frozen=True)
class SetResult:
    """Means over the pictures of one set at one scale; of the times the median (the first holds a warm-up)."""

    set: str
    scale: int
    images: int
    psnr_y: float
    ssim_y: float
    bicubic_psnr_y: float
    bicubic_ssim_y: float
    seconds: float
    bicubic_seconds: float
    lowest_gain: float
    """Gain of the picture that gained least."""

    @property
    def gain(self) -> float:
        """Decibels above bicubic."""
        return self.psnr_y - self.bicubic_psnr_y


def gathered(rows: list[PictureResult]) -> list[PictureResult]:
    """All ranks' rows, on every rank, in an order that does not depend on the number of ranks."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts: list[list[PictureResult] | None] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, rows)
        rows = [row for part in parts for row in part or []]
    return sorted(rows, key=_natural)


def _natural(row: PictureResult) -> list[Any]:
    """Set5 before Set14, x2 before x4."""
    parts = [re.split(r"(\d+)", text) for text in (row.set, str(row.scale), row.name)]
    return [[(int(part), "") if part.isdigit() else (-1, part) for part in found] for found in parts]


def summarise(rows: Iterable[PictureResult]) -> list[SetResult]:
    """Per picture first, then the mean over a set (never one PSNR of the pooled error)."""
    groups: dict[tuple[str, int], list[PictureResult]] = {}
    for row in rows:
        groups.setdefault((row.set, row.scale), []).append(row)
    means = ("psnr_y", "ssim_y", "bicubic_psnr_y", "bicubic_ssim_y")
    medians = ("seconds", "bicubic_seconds")
    return [
        SetResult(
            set=name,
            scale=scale,
            images=len(group),
            **{column: statistics.fmean(getattr(row, column) for row in group) for column in means},
            **{column: statistics.median(getattr(row, column) for row in group) for column in medians},
            lowest_gain=min(row.gain for row in group),
        )
        for (name, scale), group in groups.items()
    ]


def write_results(
    folder: Path,
    rows: Sequence[PictureResult],
    *,
    method: str,
    checkpoint: str | None,
    params: int,
    degradation: str,
    extra: dict[str, Any],
) -> None:
    """Writes `per_image.csv`, then `results.json`, whose presence says that the run is finished.

    Args:
        folder: The run's folder.
        rows: One for each picture.
        method: The network's name.
        checkpoint: File that was evaluated, relative to the folder.
        params: Number of the network's parameters.
        degradation: What made the LR pictures.
        extra: More top-level entries, e.g. the objective.
    """
    with (folder / "per_image.csv").open("w", newline="", encoding="utf-8") as file:
        names = [field.name for field in fields(PictureResult)]
        writer = csv.writer(file)
        writer.writerow([*names, "gain"])
        writer.writerows([*(getattr(row, name) for name in names), row.gain] for row in rows)
    table: list[dict[str, Any]] = []
    for row in summarise(rows):
        common = {"set": row.set, "scale": row.scale, "images": row.images}
        table.append(
            common
            | {"method": "bicubic", "checkpoint": None, "psnr_y": row.bicubic_psnr_y, "ssim_y": row.bicubic_ssim_y}
            | {"params": 0, "seconds_per_image": row.bicubic_seconds}
        )
        table.append(
            common
            | {"method": method, "checkpoint": checkpoint, "psnr_y": row.psnr_y, "ssim_y": row.ssim_y, "gain": row.gain}
            | {"lowest_gain": row.lowest_gain, "params": params, "seconds_per_image": row.seconds}
        )
    protocol = PROTOCOL | {"lr_kernel": degradation}
    document = {"protocol": protocol, "rows": table, **extra}
    part = folder / "results.json.part"
    part.write_text(json.dumps(_finite(document), indent=1), encoding="utf-8")
    os.replace(part, folder / "results.json")


def _finite(value: Any) -> Any:
    """JSON knows no infinity: an infinite PSNR is null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def results_table(rows: Sequence[PictureResult], *, method: str, params: int) -> Table:
    """Method, set, PSNR-Y, SSIM-Y, gain, parameters, time; fits 80 columns."""
    table = Table(
        title="PSNR (dB) and SSIM on Y; gain over bicubic: mean and least",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for column in ("set", "method", "PSNR-Y", "SSIM-Y", "gain", "least", "params", "ms/img"):
        table.add_column(column, justify="left" if column in ("method", "set") else "right", overflow="fold")
    for row in summarise(rows):
        table.add_row(
            f"{row.set} x{row.scale}",
            "bicubic",
            f"{row.bicubic_psnr_y:.2f}",
            f"{row.bicubic_ssim_y:.4f}",
            "",
            "",
            "0",
            f"{row.bicubic_seconds * 1000:.0f}",
        )
        table.add_row(
            "",
            method,
            f"{row.psnr_y:.2f}",
            f"{row.ssim_y:.4f}",
            f"{row.gain:+.2f}",
            f"{row.lowest_gain:+.2f}",
            _count(params),
            f"{row.seconds * 1000:.0f}",
            end_section=True,
        )
    return table


def _count(n: int) -> str:
    return f"{n / 1e6:.2f} M" if n >= 1e6 else f"{n / 1e3:.1f} K"
