"""Verification that an exported file computes the same as the network, at a variety of sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from sr_lightning.errors import FailedError, one_line
from sr_lightning.exporters.card import Precision

# Relative to the largest value. float16 has 11 bits, and every layer rounds: 1e-3 to 2e-3 measured with trained
# networks.
TOLERANCE: dict[Precision, float] = {"float32": 1e-4, "float16": 1e-2}
# Height and width: tiny, odd, even, multiples of 8 and not, wide and tall.
_SIZES = ((1, 1), (2, 3), (5, 100), (17, 23), (24, 16), (33, 50), (65, 40))
Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Comparison:
    """Result of a file compared with the network's, for one size."""

    shape: tuple[int, ...]
    """Shape of the input, (N, C, h, w)."""
    difference: float
    """Maximum absolute difference."""
    relative: float
    """Difference relative to the largest value of the network's result."""


def sizes(min_size: int = 1, *, multiple: int = 1) -> list[tuple[int, int]]:
    """Returns the heights and widths to compare at, without duplicates.

    Args:
        min_size: Minimum side.
        multiple: Sides are rounded up to multiples of this.
    """
    found = (tuple(max(side, min_size) for side in size) for size in _SIZES)
    return list(dict.fromkeys((-(-h // multiple) * multiple, -(-w // multiple) * multiple) for h, w in found))


def compare(
    file: Function, network: Function, shapes: Iterable[tuple[int, int]], scale: int, *, precision: Precision
) -> list[Comparison]:
    """Runs a file and the network on noise and compares the results.

    Args:
        file: (N, 3, h, w) RGB in [0, 1] -> (N, 3, h·s, w·s), computed by the file.
        network: The same function, computed by the network.
        shapes: Heights and widths; the last one is run as a batch of two.
        scale: The scale factor s.
        precision: Precision of the file.

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
        except Exception as error:  # whatever runs the file has its own exceptions
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
