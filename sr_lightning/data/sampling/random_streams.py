"""Counter-based random numbers for data: one stream per purpose, with random access to any sample.

Philox (Salmon et al. 2011) is a function of a key and a counter. The key holds the seed and the stream; the counter is
the number of the sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Independent streams under one seed; changing the numbers would make old runs irreproducible."""

    WINDOW = 1
    """Window, dihedral transform and channel order of a sample."""
    ORDER = 2
    """Permutation of the images in a pass."""
    SCALE = 3
    """Scale of a batch."""
    DEGRADATION = 4
    """Parameters and noise of a degradation."""


def philox(seed: int, stream: Stream, counter: int) -> np.random.Philox:
    """Returns the bit generator of one counter."""
    return np.random.Philox(key=(int(stream) << 64) | seed, counter=counter << 64)


def random_bits(seed: int, stream: Stream, counter: int, n: int) -> list[int]:
    """Returns n random 64-bit integers of one counter."""
    return [int(value) for value in philox(seed, stream, counter).random_raw(n)]


def successive_bits(seed: int, stream: Stream, counters: range, n: int) -> Iterator[list[int]]:
    """Yields `random_bits` of successive counters, n at most 4, without the costly creation of a generator each."""
    generator = philox(seed, stream, counters.start)
    for _ in counters:
        yield generator.random_raw(n).tolist()  # from a block of four numbers, which increments the counter by one
        generator.advance((1 << 64) - 1)
