"""Division of a large image into tiles, and the LR window that each tile needs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from sr_lightning.image.color import SYMMETRIES

Rectangle = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True)
class TileGrid:
    """Grid of tiles whose windows all have the same shape, so that memory is reused.

    At the image's border a window is shifted inwards rather than cropped.
    """

    height: int
    width: int
    tile: int
    """Largest side of a tile in LR pixels."""
    margin: int
    """LR pixels around a tile on which its SR pixels depend."""
    step: int = 1
    """Windows begin at multiples of this."""

    def rows(self) -> list[slice]:
        """Splits the height into as few and as equal parts as possible."""
        return parts(self.height, self.tile)

    def columns(self) -> list[slice]:
        """Splits the width likewise."""
        return parts(self.width, self.tile)

    def parts(self) -> Iterator[Rectangle]:
        """Yields all tiles, row by row."""
        return itertools.product(self.rows(), self.columns())

    def window(self, part: Rectangle) -> Rectangle:
        """Returns the LR window that the network needs for a tile."""
        return self._widened(part[0], self.height), self._widened(part[1], self.width)

    def _widened(self, part: slice, n: int) -> slice:
        longest = -(-n // -(-n // self.tile))  # longest part along this axis
        span = -(-(longest + 2 * self.margin + self.step - 1) // self.step) * self.step
        start = max(0, (part.start - self.margin) // self.step * self.step)
        if start + span >= n:
            return slice(max(0, (n - span) // self.step * self.step), n)
        return slice(start, start + span)

    def transformed(self, code: int) -> TileGrid:
        """Returns the grid of the image after `dihedral(image, code)`."""
        height, width = (self.width, self.height) if code & 4 else (self.height, self.width)
        return TileGrid(height, width, self.tile, self.margin, self.step)


def parts(n: int, most: int) -> list[slice]:
    """Splits n into as few and as equal parts of at most `most` as possible."""
    count = -(-n // most)
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]


def transformed_part(part: Rectangle, size: tuple[int, int], code: int) -> Rectangle:
    """Returns the position of a tile of an image of the given size after `dihedral(image, code)`."""
    assert 0 <= code < SYMMETRIES
    rows = _mirrored(part[0], size[0]) if code & 2 else part[0]
    columns = _mirrored(part[1], size[1]) if code & 1 else part[1]
    return (columns, rows) if code & 4 else (rows, columns)


def original_part(part: Rectangle, size: tuple[int, int], code: int) -> Rectangle:
    """Inverse of `transformed_part`; `size` is the size before the transform."""
    rows, columns = (part[1], part[0]) if code & 4 else part
    return (
        _mirrored(rows, size[0]) if code & 2 else rows,
        _mirrored(columns, size[1]) if code & 1 else columns,
    )


def inside(part: Rectangle, window: Rectangle, scale: int) -> Rectangle:
    """Returns the position of a tile's SR pixels within its window's result."""
    rows, columns = (slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, window, strict=True))
    return scaled((rows, columns), scale)


def scaled(part: Rectangle, scale: int) -> Rectangle:
    """Returns the position of a tile's SR pixels in the SR image."""
    rows, columns = (slice(p.start * scale, p.stop * scale) for p in part)
    return rows, columns


def _mirrored(part: slice, n: int) -> slice:
    return slice(n - part.stop, n - part.start)
