"""Confidence intervals and tests of paired differences over images, sets and training seeds, and their power."""

from __future__ import annotations

import itertools
import math
import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ENOUGH = 20
"""Number of images per set from which a bootstrap interval has about its nominal coverage."""
SIGNIFICANT = 0.05
"""p-values below this are significant."""
POWER = 0.8
"""Probability with which a difference of the size `Difference.detectable` would be found."""
_RESAMPLES = 9999
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A mean difference and its confidence interval."""

    mean: float
    low: float
    """NaN, like `high`, if there is no interval: with one image or none."""
    high: float
    n: int
    """Number of images compared."""
    confidence: float
    interval: Literal["t", "BCa", "percentile", ""] = ""
    """Method of the interval."""
    p: float = math.nan
    """Two-sided p-value for a difference of 0; see `mean_difference`."""
    detectable: float = math.nan
    """Smallest true difference that as many images of this kind would reveal with probability `POWER`."""
    seeds: tuple[int, int] = (1, 1)
    """Number of training runs of each method that the figures are averaged over."""

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval claims a difference."""
        return self.low > 0 or self.high < 0

    def text(self, *, unit: str = "dB", digits: int = 2) -> str:
        """Formats the difference for a table: `+0.03 dB [-0.01, 0.07]`."""
        mean = f"{self.mean:+.{digits}f} {unit}".rstrip()
        if math.isnan(self.low):
            return f"{mean} (no interval)"
        return f"{mean} [{self.low:.{digits}f}, {self.high:.{digits}f}]"

    def __str__(self) -> str:
        return self.text()


@dataclass(frozen=True)
class Spread:
    """Spread of one figure over several runs that differ in their seeds."""

    mean: float
    std: float
    """Sample standard deviation (n - 1); NaN for a single run."""
    n: int


def paired_difference(a: Sequence[float], b: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> Difference:
    """Mean of a - b over the same images of one set; see `mean_difference`.

    Args:
        a: One figure per image; infinite if the image is reproduced exactly, NaN if there is none.
        b: Figures of the other method, in the same order.
        confidence: Nominal coverage of the interval.
        seed: Seed of the resampling: the same input gives the same interval.

    Raises:
        ValueError: The numbers of images differ, or `confidence` is not between 0 and 1.
    """
    return mean_difference([[a]], [[b]], confidence=confidence, seed=seed)


def mean_difference(
    a: Sequence[Sequence[Sequence[float]]],
    b: Sequence[Sequence[Sequence[float]]],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Mean of a - b over the same images of one or more sets, each set counting the same.

    Images are resampled, with the two methods' figures paired: what is hard for one method is hard for the other, so
    the difference varies much less than either. If every set has at least `ENOUGH` images and nothing was trained
    repeatedly, the interval is the bias-corrected and accelerated bootstrap's (BCa; Efron and Tibshirani 1993, chapter
    14.3, by scipy), which accounts for the skewness of gains: a few images of Urban100 gain most. With fewer images
    every bootstrap interval is too narrow (a nominal 95 % BCa interval covers 83 % with 5 images and 88 % with 14), so
    that the interval is Student's t, with Welch-Satterthwaite degrees of freedom over several sets.

    Runs that differ only in their seed are a second source of variance besides the images: the variance of a method's
    mean over its runs is added to that over images, with its few degrees of freedom. It is pooled over both methods, so
    that a single run of one is judged by the spread of the other's runs. (Resampling both runs and images, as is often
    recommended, covered 84 to 93 % instead of 95 with two to five runs, and 76 % with two runs over 100 images; this
    covers 90 to 96.) Without repeated runs, the interval generalises to images like these, but not to another training.

    Args:
        a: Sets x runs x images: one figure each; infinite if an image is reproduced exactly, NaN if there is none.
        b: Figures of the other method: the same sets and images, in the same order, with any number of runs.
        confidence: Nominal coverage of the interval.
        seed: Seed of the resampling: the same input gives the same interval.

    Returns:
        The difference. Images with a NaN or infinite figure are excluded from it and from `n`; figures that are all
        infinite differ by 0. Differences that are all equal have an interval of zero width, a single one has none. `p`
        is that of the t test, but never below 2^(1-n), the minimum of a test without assumptions about the
        distribution: 0.0625 with 5 images.

    Raises:
        ValueError: The numbers of images differ, or `confidence` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: found {confidence}, allowed: above 0, below 1")
    pairs = [_usable(np.array(x, float), np.array(y, float)) for x, y in zip(a, b, strict=True)]
    pairs = [(x, y) for x, y in pairs if x.shape[1]]
    seeds = (len(a[0]), len(b[0])) if a else (0, 0)
    if not pairs:
        return Difference(math.nan, math.nan, math.nan, 0, confidence, seeds=seeds)
    sets = [x.mean(0) - y.mean(0) for x, y in pairs]
    n, mean = sum(map(len, sets)), statistics.fmean(float(d.mean()) for d in sets)
    found = Difference(mean, math.nan, math.nan, n, confidence, seeds=seeds)
    if min(map(len, sets)) < 2:
        return found
    parts = [(float(d.var(ddof=1)) / len(d) / len(sets) ** 2, len(d) - 1) for d in sets]
    parts += _seed_part([_run_means(pairs, side) for side in (0, 1)])
    error, freedom = _combined(parts)
    if error <= 1e-12 * max(abs(mean), 1.0):
        return Difference(mean, mean, mean, n, confidence, "t", 1.0 if mean == 0 else 2.0 ** (1 - n), 0.0, seeds)
    # scipy has no type hints, and takes a second to import.
    from scipy.stats import t

    p = max(float(2 * t.sf(abs(mean) / error, freedom)), 2.0 ** (1 - n))
    reach = error * float(t.ppf((1 + confidence) / 2, freedom))
    low, high, how = mean - reach, mean + reach, "t"
    if seeds == (1, 1) and min(map(len, sets)) >= ENOUGH:
        low, high, how = _bootstrap(sets, confidence, seed)
    detectable = _detectable(error, freedom, 1 - confidence)
    return Difference(mean, low, high, n, confidence, how, p, detectable, seeds)  # type: ignore[arg-type]  # one of them


def holm(p: Sequence[float]) -> list[float]:
    """Adjusts p-values for multiple comparisons (Holm 1979); NaN stays NaN and does not count."""
    order = sorted((value, i) for i, value in enumerate(p) if not math.isnan(value))
    found, worst = list(p), 0.0
    for rank, (value, i) in enumerate(order):
        worst = max(worst, min(1.0, value * (len(order) - rank)))
        found[i] = worst
    return found


def least_p(n: int) -> float:
    """Returns the smallest two-sided p of a sign-flip or Wilcoxon test over n images, reached if all signs agree."""
    return min(1.0, 2.0 ** (1 - n))


def too_few(images: Mapping[str, int]) -> list[str]:
    """States which sets are too small for a significant difference, as one sentence or none.

    Args:
        images: Name of a set, or of several together -> their number of images.
    """
    enough = next(n for n in itertools.count(1) if least_p(n) <= SIGNIFICANT)
    small = [f"{name} has {n}" for name, n in images.items() if n < enough]
    return (
        [f"({enough} images are the least that can show a significant difference; {', '.join(small)})"] if small else []
    )


def over_seeds(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of one figure over runs with different seeds.

    Args:
        values: One figure per run.

    Returns:
        The spread; the deviation is NaN with an infinite figure or a single run.
    """
    mean = sum(values) / len(values) if values else math.nan
    is_spread = len(values) > 1 and math.isfinite(mean)
    return Spread(mean, statistics.stdev(values) if is_spread else math.nan, len(values))


def _usable(a: Values, b: Values) -> tuple[Values, Values]:
    """Removes images with a missing figure, or one that is infinite for one method only; both (runs, images)."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"paired figures: found {a.shape[-1]} and {b.shape[-1]}, allowed: the same images")
    known = ~(np.isnan(a).any(0) | np.isnan(b).any(0))
    a, b = a[:, known], b[:, known]
    if a.size and (a == np.inf).all() and (b == np.inf).all():  # both methods exact everywhere: equally good
        return np.zeros_like(a), np.zeros_like(b)
    finite = np.isfinite(a).all(0) & np.isfinite(b).all(0)
    return a[:, finite], b[:, finite]


def _run_means(pairs: Sequence[tuple[Values, Values]], side: int) -> Values:
    """Averages each run over the images of a set, then over the sets: (runs,)."""
    return np.mean([pair[side].mean(1) for pair in pairs], axis=0)  # type: ignore[no-any-return]  # numpy's stubs say Any  # of an array it is one


def _seed_part(runs: Sequence[Values]) -> list[tuple[float, int]]:
    """Variance of the difference due to the seeds, with its degrees of freedom; empty without repeated runs."""
    freedom = sum(len(r) - 1 for r in runs)
    if freedom == 0:
        return []
    pooled = sum(float(((r - r.mean()) ** 2).sum()) for r in runs) / freedom
    return [(pooled * sum(1 / len(r) for r in runs), freedom)]


def _combined(parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum (Satterthwaite 1946)."""
    variance = sum(v for v, _ in parts)
    below = sum(v**2 / freedom for v, freedom in parts)
    return math.sqrt(variance), variance**2 / below if below > 0 else float(parts[0][1])


def _detectable(error: float, freedom: float, alpha: float) -> float:
    """Returns the true difference for which a two-sided t test has power `POWER`."""
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    critical = float(t.ppf(1 - alpha / 2, freedom))
    return error * float(brentq(lambda shift: nct.sf(critical, freedom, shift) - POWER, 0.0, 4 * critical + 8))


def _bootstrap(sets: Sequence[Values], confidence: float, seed: int) -> tuple[float, float, str]:
    from scipy.stats import DegenerateDataWarning, bootstrap

    def mean(*samples: Values, axis: int = -1) -> Values:
        means: Values = np.mean([sample.mean(axis) for sample in samples], axis=0)
        return means

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # handled below
        for method in ("BCa", "percentile"):  # BCa is undefined if most differences are equal
            found = bootstrap(
                tuple(sets),
                mean,
                n_resamples=_RESAMPLES,
                batch=1000,
                vectorized=True,
                confidence_level=confidence,
                method=method,
                rng=np.random.default_rng(seed),
            ).confidence_interval
            if math.isfinite(found.low) and math.isfinite(found.high):
                break
    return float(found.low), float(found.high), method
