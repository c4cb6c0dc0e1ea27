"""Proof that an exported file computes what the network computes, at sizes of every kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from sr_lightning.errors import FailedError, one_line
from sr_lightning.exporters.card import Precision

# Of the largest value. float16 has 11 bits, and each layer rounds: measured 1e-3 to 2e-3 with trained networks.
TOLERANCE: dict[Precision, float] = {"float32": 1e-4, "float16": 1e-2}
# Height and width: tiny, odd, even, multiples of 8 and none, wide and high.
_SIZES = ((1, 1), (2, 3), (5, 100), (17, 23), (24, 16), (33, 50), (65, 40))
Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Comparison:
    """A file's result beside the network's, for one size."""

    shape: tuple[int, ...]
    """(N, C, h, w) that went in."""
    difference: float
    """The largest, absolute."""
    relative: float
    """To the largest value of the network's result."""


def sizes(min_size: int = 1, *, multiple: int = 1) -> list[tuple[int, int]]:
    """Heights and widths to compare at, each once.

    Args:
        min_size: Smallest side.
        multiple: Sides are made multiples of it.
    """
    found = (tuple(max(side, min_size) for side in size) for size in _SIZES)
    return list(dict.fromkeys((-(-h // multiple) * multiple, -(-w // multiple) * multiple) for h, w in found))


def compare(
    file: Function, network: Function, shapes: Iterable[tuple[int, int]], scale: int, *, precision: Precision
) -> list[Comparison]:
    """Runs both on noise.

    Args:
        file: (N, 3, h, w) RGB in [0, 1] -> (N, 3, h·s, w·s), as the file computes it.
        network: The same, as the network does.
        shapes: Heights and widths; the last one goes in as a batch of two.
        scale: s.
        precision: Of the file.

    Raises:
        FailedError: A result has another size, is not finite, or differs by more than the tolerance.
    """
    shapes, noise = list(shapes), torch.Generator().manual_seed(0)
    found = []
    for number, (height, width) in enumerate(shapes, start=1):
        lr = torch.rand(2 if number == len(shapes) else 1, 3, height, width, generator=noise)
        where = f"at {width}x{height}"
        with torch.inference_mode():
            expected = network(lr.clone())
        try:
            with torch.inference_mode():
                made = file(lr.clone())
        except Exception as error:  # whatever runs the file has errors of its own
            raise FailedError(f"the file does not run {where}: {one_line(error)}") from error
        wanted = (*lr.shape[:2], height * scale, width * scale)
        if tuple(made.shape) != wanted:
            raise FailedError(f"the file makes {tuple(made.shape)} {where}, expected {wanted}")
        difference = float((made.double() - expected.double()).abs().max())
        relative = difference / (float(expected.abs().max()) or 1.0)
        if not (math.isfinite(difference) and relative <= TOLERANCE[precision]):
            raise FailedError(
                f"the file differs from the network by {difference:.2g} {where}, {relative:.2g} of the largest value; "
                f"allowed: {TOLERANCE[precision]:g}"
            )
        found.append(Comparison(tuple(lr.shape), difference, relative))
    return found
