"""The parts that a large image is enlarged in, and the window of LR pixels that each of them needs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from sr_lightning.image.color import SYMMETRIES

Rectangle = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True)
class TileGrid:
    """All windows of an image have one shape, so that memory is used again and again.

    At the image's border a window is moved inwards instead of being cut.
    """

    height: int
    width: int
    tile: int
    """Largest side of a part in LR pixels."""
    margin: int
    """LR pixels around a part on which its SR pixels depend."""
    step: int = 1
    """Windows begin at multiples of it."""

    def rows(self) -> list[slice]:
        """The parts of the height: as few as there can be, as equal as they can be."""
        return parts(self.height, self.tile)

    def columns(self) -> list[slice]:
        """The parts of the width."""
        return parts(self.width, self.tile)

    def parts(self) -> Iterator[Rectangle]:
        """All parts, row by row."""
        return itertools.product(self.rows(), self.columns())

    def window(self, part: Rectangle) -> Rectangle:
        """What the network has to see for a part."""
        return self._widened(part[0], self.height), self._widened(part[1], self.width)

    def _widened(self, part: slice, n: int) -> slice:
        longest = -(-n // -(-n // self.tile))  # of all parts of this axis
        span = -(-(longest + 2 * self.margin + self.step - 1) // self.step) * self.step
        start = max(0, (part.start - self.margin) // self.step * self.step)
        if start + span >= n:
            return slice(max(0, (n - span) // self.step * self.step), n)
        return slice(start, start + span)

    def transformed(self, code: int) -> TileGrid:
        """The grid of the image after `dihedral(image, code)`."""
        height, width = (self.width, self.height) if code & 4 else (self.height, self.width)
        return TileGrid(height, width, self.tile, self.margin, self.step)


def parts(n: int, most: int) -> list[slice]:
    """As few parts of at most `most` as there can be, as equal as they can be."""
    count = -(-n // most)
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]


def transformed_part(part: Rectangle, size: tuple[int, int], code: int) -> Rectangle:
    """Where a part of an image of that size lies after `dihedral(image, code)`."""
    assert 0 <= code < SYMMETRIES
    rows = _mirrored(part[0], size[0]) if code & 2 else part[0]
    columns = _mirrored(part[1], size[1]) if code & 1 else part[1]
    return (columns, rows) if code & 4 else (rows, columns)


def original_part(part: Rectangle, size: tuple[int, int], code: int) -> Rectangle:
    """The inverse of `transformed_part`; `size` is that of the image before it was transformed."""
    rows, columns = (part[1], part[0]) if code & 4 else part
    return (
        _mirrored(rows, size[0]) if code & 2 else rows,
        _mirrored(columns, size[1]) if code & 1 else columns,
    )


def inside(part: Rectangle, window: Rectangle, scale: int) -> Rectangle:
    """Where a part's SR pixels lie in its window's result."""
    rows, columns = (slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, window, strict=True))
    return scaled((rows, columns), scale)


def scaled(part: Rectangle, scale: int) -> Rectangle:
    """Where the SR pixels of a part lie."""
    rows, columns = (slice(p.start * scale, p.stop * scale) for p in part)
    return rows, columns


def _mirrored(part: slice, n: int) -> slice:
    return slice(n - part.stop, n - part.start)
