"""What upscale prints: a line for each image, and what came of all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sr_lightning.text import listed, printable, shown
from sr_lightning.upscaling.image_job import Done

_NAME = 27  # columns of an image's name, so that a line stays below 80


@dataclass
class Outcome:
    """What became of all images."""

    done: list[Done] = field(default_factory=list)
    done_before: int = 0
    large_enough: int = 0
    made_by_us: int = 0
    """Outputs of earlier runs that lie among the inputs."""
    failed: dict[Path, str] = field(default_factory=dict)
    """Input -> what is wrong."""


def image_line(done: Done) -> str:
    """`photo.jpg     640x480 -> 2560x1920   0.8 s  LR-PSNR 47.2 dB`."""
    name = printable(done.task.source.name)
    if len(name) > _NAME:
        name = f"{name[: _NAME - 1]}…"
    sizes = " -> ".join(f"{width}x{height}" for height, width in (done.source_size, done.size))
    consistency = "only shrunken" if done.lr_psnr is None else f"LR-PSNR {_decibels(done.lr_psnr)}"
    return f"{name:<{_NAME}} {sizes:<24} {done.seconds:5.1f} s  {consistency}"


def summary(outcome: Outcome, seconds: float, notes: Sequence[str] = ()) -> str:
    """Several lines: counts, speed, consistency, what outputs do not keep, what failed.

    Args:
        outcome: What became of all images.
        seconds: From the first image to the last.
        notes: How the network was used.
    """
    done = outcome.done
    megapixels = sum(image.megapixels for image in done)
    lines = []
    if done:
        where = {image.task.output.parent for image in done}
        place = shown(done[0].task.output) if len(done) == 1 else shown(_common(where))
        lines.append(f"{_images(len(done))}, {megapixels:.1f} MP in {seconds:.1f} s, {megapixels / seconds:.1f} MP/s")
        lines.append(place)
        finite = [image.lr_psnr for image in done if image.lr_psnr is not None and math.isfinite(image.lr_psnr)]
        if finite:
            lines.append(f"LR-PSNR {sum(finite) / len(finite):.1f} dB: each result shrunken again, against its input")
    for count, what in (
        (outcome.done_before, "done before by the same work"),
        (outcome.large_enough, "large enough (skip_larger)"),
        (outcome.made_by_us, "left out: outputs of earlier runs"),
    ):
        lines += [f"{_images(count)} {what}"] if count else []
    changes = Counter(change for image in done for change in image.changes)
    lines += [f"{change} ({_images(count)})" for change, count in changes.items()]
    lines += notes
    if outcome.failed:
        lines.append(f"{_images(len(outcome.failed))} failed")
        lines.append(listed(list(outcome.failed.values()), indent="  "))
    return "\n".join(lines)


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def _decibels(value: float) -> str:
    return "inf" if math.isinf(value) else f"{value:.1f} dB"


def _common(folders: set[Path]) -> Path:
    first, *others = sorted(folders)
    while any(not folder.is_relative_to(first) for folder in others):
        first = first.parent
    return first
