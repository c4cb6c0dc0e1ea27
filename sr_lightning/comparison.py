"""Placeholder with the agreed signatures: replaced by the module of the same name at the merge."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap  # type: ignore[import-untyped]


@dataclass(frozen=True)
class Difference:
    """A mean paired difference and its confidence interval."""

    mean: float
    low: float
    high: float
    n: int
    confidence: float


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds."""

    mean: float
    std: float
    n: int


def paired_difference(a: Sequence[float], b: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> Difference:
    """Mean of a - b over pictures."""
    differences = np.subtract(a, b)
    found = bootstrap(
        (differences,), np.mean, confidence_level=confidence, rng=np.random.default_rng(seed), method="percentile"
    )
    low, high = found.confidence_interval
    return Difference(float(differences.mean()), float(low), float(high), len(differences), confidence)


def over_seeds(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation."""
    return Spread(statistics.fmean(values), statistics.stdev(values), len(values))
