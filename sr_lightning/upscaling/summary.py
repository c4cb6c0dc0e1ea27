"""Terminal output of `upscale`: a line for each image, and a summary of the run."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.cells import cell_len, set_cell_size

from sr_lightning.text import listed, single_line
from sr_lightning.upscaling.image_job import Done

_NAME = 27  # columns for an image's name, so that a line stays below 80


@dataclass
class Outcome:
    """Outcome of a run."""

    done: list[Done] = field(default_factory=list)
    done_before: int = 0
    large_enough: int = 0
    made_by_us: int = 0
    """Outputs of earlier runs found among the inputs."""
    failed: dict[Path, str] = field(default_factory=dict)
    """Input -> reason."""


def image_line(done: Done) -> str:
    """`photo.jpg     640x480 -> 2560x1920   0.8 s  LR-PSNR 47.2 dB`."""
    name = single_line(done.task.source.name)
    if cell_len(name) > _NAME:
        name = f"{set_cell_size(name, _NAME - 1)}…"
    sizes = f"{_size(done.source_size)} -> {_size(done.size)}"
    consistency = "downscaled only" if done.lr_psnr is None else f"LR-PSNR {_decibels(done.lr_psnr)}"
    return f"{set_cell_size(name, _NAME)} {sizes:<24} {done.seconds:5.1f} s  {consistency}"


def summary(outcome: Outcome, seconds: float, *, network: str = "", notes: Sequence[str] = ()) -> str:
    """Summary in several lines: where the results are, network, speed, consistency, what outputs do not keep, failures.

    Args:
        outcome: Outcome of the run.
        seconds: Time from the first image to the last.
        network: The network and its weights.
        notes: Remarks on how the network was used.
    """
    done = outcome.done
    lines = []
    if done:
        speed = f"{seconds:.1f} s, {_figure(sum(image.megapixels for image in done) / seconds)} MP/s"
        lines += _one(done[0]) if len(done) == 1 else _several(done)
        lines += [f"  network  {single_line(network)}"] if network else []
        lines += [f"  time     {speed}", *_consistency(done)]
    for count, what in (
        (outcome.done_before, "done before by the same work"),
        (outcome.large_enough, "large enough (skip_larger)"),
        (outcome.made_by_us, "left out: outputs of earlier runs"),
    ):
        lines += [f"{_images(count)} {what}"] if count else []
    changes = Counter(change for image in done for change in image.changes)
    lines += [f"{change} ({_images(count)})" for change, count in changes.items()]
    lines += map(single_line, notes)
    if outcome.failed:
        lines.append(f"{_images(len(outcome.failed))} failed")
        lines.append(listed(list(outcome.failed.values()), indent="  "))
    return "\n".join(lines)


def _one(done: Done) -> list[str]:
    size = f"{_size(done.size)} pixels, {_figure(done.megapixels)} MP, from {_size(done.source_size)}"
    return [_place(done.task.output), f"  size     {size}"]


def _several(done: Sequence[Done]) -> list[str]:
    megapixels = _figure(sum(image.megapixels for image in done))
    folder = _common({image.task.output.parent for image in done})
    return [f"{_images(len(done))} in {_place(folder)}", f"  size     {megapixels} MP in all"]


def _consistency(done: Sequence[Done]) -> list[str]:
    found = [image.lr_psnr for image in done if image.lr_psnr is not None]
    finite = [psnr for psnr in found if math.isfinite(psnr)]
    if not found:
        return []
    what = "agreement of the result, shrunk again, with the input"
    if len(done) > 1:
        what = "mean agreement of results, shrunk again, with inputs"
    mean = sum(finite) / len(finite) if finite else math.inf
    return [f"  LR-PSNR  {_decibels(mean)} ({what})"]


def _place(path: Path) -> str:
    return single_line(os.path.abspath(path))


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _figure(value: float) -> str:
    """Formats a value with three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def _decibels(value: float) -> str:
    return "inf" if math.isinf(value) else f"{value:.1f} dB"


def _common(folders: set[Path]) -> Path:
    return Path(os.path.commonpath([os.path.abspath(folder) for folder in folders]))
