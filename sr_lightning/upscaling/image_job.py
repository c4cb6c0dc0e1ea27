"""Upscaling of one image file into its output file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from sr_lightning.image.alpha import spread_colours
from sr_lightning.image.encoder import FORMATS, Layout, Quality, fitted, write_image
from sr_lightning.image.metadata import Metadata
from sr_lightning.image.source_image import Levels, SourceImage, read_source
from sr_lightning.inference.upscaler import Upscaler
from sr_lightning.metrics.lr_psnr import Consistency
from sr_lightning.upscaling.enlarge import enlarged_rows
from sr_lightning.upscaling.history import PROGRAM, Work
from sr_lightning.upscaling.size import Sizing
from sr_lightning.upscaling.sources import Task


@dataclass(frozen=True)
class Writing:
    """Options for writing outputs."""

    quality: Quality = None
    keep_metadata: bool = True


@dataclass(frozen=True)
class Done:
    """Result for one image."""

    task: Task
    source_size: tuple[int, int]
    size: tuple[int, int]
    seconds: float
    lr_psnr: float | None
    """See `Consistency`; None if the image was only downscaled."""
    changes: tuple[str, ...] = field(default=())
    """What the output does not preserve of its input."""

    @property
    def megapixels(self) -> float:
        """Size of the output in megapixels."""
        return self.size[0] * self.size[1] / 1e6


def upscale_file(
    task: Task,
    upscaler: Upscaler,
    sizing: Sizing,
    work: Work,
    writing: Writing,
    *,
    progress: Callable[[float], None] = lambda _: None,
) -> Done:
    """Reads, enlarges and writes one image.

    Args:
        task: Input and output files.
        upscaler: The network.
        sizing: Requested size.
        work: Recorded in the output.
        writing: Options for writing the output.
        progress: Called with the output megapixels of each block of rows.

    Raises:
        UserError: The image cannot be read.
        FailedError: See `Upscaler.rows`.
        OSError: The output cannot be written.
    """
    began = time.perf_counter()
    source = read_source(task.source)
    height, width, channels = source.levels.shape
    target = sizing.target(height, width)
    own = Layout(*target.size, channels, 8 if source.levels.dtype == np.uint8 else 16)
    layout = FORMATS[task.format].nearest(own)
    lr = spread_colours(source.levels) if own.has_alpha else source.levels
    consistency = Consistency(lr, target.size)
    rows = consistency.watch(enlarged_rows(upscaler, lr, target, layout.dtype))
    metadata = source.metadata.for_output(target.size, layout.channels) if writing.keep_metadata else Metadata()
    task.output.parent.mkdir(parents=True, exist_ok=True)
    write_image(
        task.output,
        fitted(_counted(rows, progress), Layout(*target.size, channels, layout.bits), layout),
        layout,
        format=task.format,
        metadata=metadata.with_history(PROGRAM, work.record(task.source)),
        quality=writing.quality,
    )
    return Done(
        task,
        (height, width),
        target.size,
        time.perf_counter() - began,
        consistency.psnr if target.passes else None,
        tuple(_changes(source, own, layout, task, is_kept=writing.keep_metadata)),
    )


def _counted(rows: Iterator[Levels], progress: Callable[[float], None]) -> Iterator[Levels]:
    for block in rows:
        yield block
        progress(block.shape[0] * block.shape[1] / 1e6)


def _changes(source: SourceImage, own: Layout, layout: Layout, task: Task, *, is_kept: bool) -> Iterator[str]:
    yield from source.changes
    name = task.format.upper()
    if own.bits > layout.bits:
        yield f"16 bits a channel become 8: {name} has no more"
    if own.has_alpha and not layout.has_alpha:
        yield f"transparent parts are put on white: {name} has no alpha"
    if own.channels <= 2 < layout.channels:
        yield f"greyscale is written as RGB: {name} has no greyscale"
    if is_kept and not source.metadata.fits(layout.channels):
        yield "a colour profile of another colour space is left out"
