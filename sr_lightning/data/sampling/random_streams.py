"""Counter-based random numbers of the data: one stream for each purpose, reached at any sample without the ones before.

Philox (Salmon et al. 2011) is a function of a key and a counter. The key holds the seed and the stream, the counter
the number of the sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Independent streams under one seed; the numbers are part of what makes old runs repeatable."""

    WINDOW = 1
    """Window, dihedral transform and channel order of a sample."""
    ORDER = 2
    """Permutation of the images in a pass."""
    SCALE = 3
    """Scale of a batch."""
    DEGRADATION = 4
    """Parameters and noise of a degradation."""


def philox(seed: int, stream: Stream, counter: int) -> np.random.Philox:
    """The generator of one counter."""
    return np.random.Philox(key=(int(stream) << 64) | seed, counter=counter << 64)


def random_bits(seed: int, stream: Stream, counter: int, n: int) -> list[int]:
    """N random 64-bit integers of one counter."""
    return [int(value) for value in philox(seed, stream, counter).random_raw(n)]


def successive_bits(seed: int, stream: Stream, counters: range, n: int) -> Iterator[list[int]]:
    """What `random_bits` gives for each of successive counters, n at most 4; making a generator takes longest."""
    generator = philox(seed, stream, counters.start)
    for _ in counters:
        yield generator.random_raw(n).tolist()  # a block of four numbers, which adds one to the counter
        generator.advance((1 << 64) - 1)
