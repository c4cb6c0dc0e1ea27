"""Random parameters and noise of one degraded sample, for degradations that draw them per sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sr_lightning.data.sampling.random_streams import Stream, philox
from sr_lightning.errors import UserError

Range = Sequence[float]


class Draw:
    """The random numbers of one sample.

    Args:
        seed: Together with `key`, determines all numbers.
        key: The sample number.
    """

    def __init__(self, seed: int, key: int) -> None:
        self._host = np.random.Generator(philox(seed, Stream.DEGRADATION, key))
        self._noise = torch.Generator().manual_seed(int(self._host.integers(2**62)))

    def uniform(self, bounds: Range) -> float:
        """Returns a number drawn uniformly between two bounds."""
        return float(self._host.uniform(bounds[0], bounds[1]))

    def chance(self, probability: float) -> bool:
        """Returns True with the given probability."""
        return bool(self._host.random() < probability)

    def choice(self, weights: Sequence[float]) -> int:
        """Returns an index drawn with probabilities proportional to the weights."""
        return int(self._host.choice(len(weights), p=np.asarray(weights) / np.sum(weights)))

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Returns standard normal noise."""
        return torch.randn(*shape, generator=self._noise)

    def poisson(self, rate: Tensor) -> Tensor:
        """Returns Poisson noise for rates that are on the CPU."""
        return torch.poisson(rate, generator=self._noise)


def checked_range(name: str, bounds: Range, lowest: float, highest: float) -> tuple[float, float]:
    """Validates and returns the bounds [a, b] of `data.degradation.<name>`.

    Raises:
        UserError: They are not in ascending order, or outside the allowed range.
    """
    if len(bounds) != 2 or not lowest <= bounds[0] <= bounds[1] <= highest:
        raise UserError(
            f"data.degradation.{name}: found {list(bounds)}, allowed: [a, b] with {lowest} <= a <= b <= {highest}"
        )
    return float(bounds[0]), float(bounds[1])
