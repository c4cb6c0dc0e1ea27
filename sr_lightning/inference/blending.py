"""Blending of overlapping tiles, for networks whose receptive field is the whole image."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from sr_lightning.inference.tile_grid import Rectangle, TileGrid


def blended_rows(
    grid: TileGrid, overlap: int, scale: int, channels: int, enlarge: Callable[[Rectangle], Tensor]
) -> Iterator[Tensor]:
    """Enlarges an image tile by tile, cross-fading neighbouring tiles over their overlap.

    Args:
        grid: Tiles that are at least twice the overlap wide; equal parts of at most three times the overlap always are.
        overlap: LR pixels by which a tile extends into its neighbours.
        scale: The scale factor.
        channels: Number of channels, C.
        enlarge: LR rectangle -> (C, n·s, m·s), float32.

    Yields:
        Blocks (C, n, w·s) of successive rows, on the CPU.
    """
    above: Tensor | None = None
    for rows in grid.rows():
        tall = _reaching(rows, overlap, grid.height)
        block = torch.zeros(channels, (tall.stop - tall.start) * scale, grid.width * scale)
        for columns in grid.columns():
            wide = _reaching(columns, overlap, grid.width)
            fade = _weights(columns, overlap, grid.width, scale)
            block[..., wide.start * scale : wide.stop * scale] += enlarge((tall, wide)).cpu() * fade
        block *= _weights(rows, overlap, grid.height, scale)[:, None]
        if above is not None:
            block[:, : above.shape[1]] += above
        is_last = rows.stop == grid.height
        done = block.shape[1] if is_last else (rows.stop - overlap - tall.start) * scale
        yield block[:, :done]
        above = block[:, done:].clone()


def _reaching(part: slice, overlap: int, n: int) -> slice:
    return slice(max(0, part.start - overlap), min(n, part.stop + overlap))


def _weights(part: slice, overlap: int, n: int, scale: int) -> Tensor:
    """Blending weights of a tile's SR pixels along one axis, ramping up from the previous tile and down to the next."""
    reach = _reaching(part, overlap, n)
    weights = torch.ones((reach.stop - reach.start) * scale)
    length = 2 * overlap * scale
    if length:
        rising = (torch.arange(length) + 0.5) / length
        if part.start > 0:
            weights[:length] *= rising
        if part.stop < n:
            weights[-length:] *= 1 - rising
    return weights
