"""Intervals and tests of paired differences over images, sets and training seeds, and what a set can show at all."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ENOUGH = 20
"""Images of a set from which on a bootstrap interval holds about as often as it says."""
POWER = 0.8
"""How often a difference of the size `Difference.detectable` would be found."""
_RESAMPLES = 9999
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A mean difference and its confidence interval."""

    mean: float
    low: float
    """NaN, as `high`, where there is no interval: one image, or none."""
    high: float
    n: int
    """Images that were compared."""
    confidence: float
    interval: Literal["t", "BCa", "percentile", ""] = ""
    """How the interval was made."""
    p: float = math.nan
    """Two-sided, of the difference being 0; see `differences`."""
    detectable: float = math.nan
    """The smallest true difference that so many such images show in four of five cases (`POWER`)."""
    seeds: tuple[int, int] = (1, 1)
    """Training runs of either method over which the figures are means."""

    def text(self, *, unit: str = "dB", digits: int = 2) -> str:
        """As in a table: `+0.03 dB [-0.01, 0.07]`."""
        mean = f"{self.mean:+.{digits}f} {unit}".rstrip()
        if math.isnan(self.low):
            return f"{mean} (no interval)"
        return f"{mean} [{self.low:.{digits}f}, {self.high:.{digits}f}]"

    def __str__(self) -> str:
        return self.text()


@dataclass(frozen=True)
class Spread:
    """Of one figure over several runs that differ by their seeds."""

    mean: float
    std: float
    """Sample standard deviation (n - 1); NaN for one run."""
    n: int


def paired_difference(a: Sequence[float], b: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> Difference:
    """Mean of a - b over the same images of one set; see `mean_difference`.

    Args:
        a: One figure for each image; infinite where the images are equal, NaN where there is none.
        b: Of the other method, in the same order.
        confidence: Share of such intervals that should hold the truth.
        seed: Of the resampling: the same input gives the same interval.

    Raises:
        ValueError: Different numbers of images, or no confidence between 0 and 1.
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

    Images are drawn, not values: what is hard for one method is hard for the other, and the difference varies much
    less than either. Where every set has `ENOUGH` images and nothing was trained twice, the interval is the
    bias-corrected and accelerated bootstrap's (BCa; Efron and Tibshirani 1993, chapter 14.3, by scipy), which follows
    the skewness that gains have: a few of Urban100 gain most. Over fewer images every bootstrap is too narrow (of
    nominal 95 % BCa holds 83 % over 5 images and 88 % over 14), and the interval is Student's t, with the
    degrees of freedom of Welch and Satterthwaite over several sets.

    Runs that differ only in their seed are a second level beside the images: the variance of a method's mean over its
    runs is added to that over images, and lends its few degrees of freedom. It is pooled over both methods, so that
    one run of the one is judged by the spread of the other's. (Resampling runs and images, as often advised, held 84
    to 93 % of 95 with two to five runs, and 76 % with two runs over 100 images; this holds 90 to 96.) Without repeats
    the interval speaks of images like these, not of another training.

    Args:
        a: Sets x runs x images: one figure each; infinite where the images are equal, NaN where there is none.
        b: Of the other method: the same sets and images, in the same order, any number of runs.
        confidence: Share of such intervals that should hold the truth.
        seed: Of the resampling: the same input gives the same interval.

    Returns:
        The difference. Images where a figure is NaN or infinite are left out of it, and of `n`; figures that are all
        infinite differ by 0. Differences that are all the same have an interval of no width, a single one has none.
        `p` is that of the t test, but never below 2^(1-n), the least that a test has which assumes nothing about
        the distribution: over 5 images 0.0625.

    Raises:
        ValueError: Different numbers of images, or no confidence between 0 and 1.
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
    # scipy ships no types, and takes a second.
    from scipy.stats import t

    p = max(float(2 * t.sf(abs(mean) / error, freedom)), 2.0 ** (1 - n))
    reach = error * float(t.ppf((1 + confidence) / 2, freedom))
    low, high, how = mean - reach, mean + reach, "t"
    if seeds == (1, 1) and min(map(len, sets)) >= ENOUGH:
        low, high, how = _bootstrap(sets, confidence, seed)
    detectable = _detectable(error, freedom, 1 - confidence)
    return Difference(mean, low, high, n, confidence, how, p, detectable, seeds)  # type: ignore[arg-type]  # one of them


def holm(p: Sequence[float]) -> list[float]:
    """P-values adjusted for several comparisons (Holm 1979); NaN stays NaN and does not count."""
    order = sorted((value, i) for i, value in enumerate(p) if not math.isnan(value))
    found, worst = list(p), 0.0
    for rank, (value, i) in enumerate(order):
        worst = max(worst, min(1.0, value * (len(order) - rank)))
        found[i] = worst
    return found


def least_p(n: int) -> float:
    """The smallest two-sided p of a sign-flip or Wilcoxon test over n images: all differences have one sign."""
    return min(1.0, 2.0 ** (1 - n))


def too_few(name: str, n: int) -> str:
    """Says that a set is too small for any difference to be significant."""
    return (
        f"({name}: over {n} images a sign-flip or Wilcoxon test cannot fall below p = {least_p(n):.4f}: this set alone "
        "never shows a significant difference)"
    )


def over_seeds(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of one figure over runs with different seeds.

    Args:
        values: One figure for each run.

    Returns:
        The spread; with an infinite figure, or with one run, its deviation is NaN.
    """
    mean = sum(values) / len(values) if values else math.nan
    is_spread = len(values) > 1 and math.isfinite(mean)
    return Spread(mean, statistics.stdev(values) if is_spread else math.nan, len(values))


def _usable(a: Values, b: Values) -> tuple[Values, Values]:
    """Both (runs, images), without the images where a figure is missing, or infinite for one of them only."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"paired figures: found {a.shape[-1]} and {b.shape[-1]}, allowed: the same images")
    known = ~(np.isnan(a).any(0) | np.isnan(b).any(0))
    a, b = a[:, known], b[:, known]
    if a.size and (a == np.inf).all() and (b == np.inf).all():  # exact everywhere, both: equally good
        return np.zeros_like(a), np.zeros_like(b)
    finite = np.isfinite(a).all(0) & np.isfinite(b).all(0)
    return a[:, finite], b[:, finite]


def _run_means(pairs: Sequence[tuple[Values, Values]], side: int) -> Values:
    """(runs,): each run's mean over the images of a set, and over the sets."""
    return np.mean([pair[side].mean(1) for pair in pairs], axis=0)  # type: ignore[no-any-return]  # numpy's stubs say Any  # of an array it is one


def _seed_part(runs: Sequence[Values]) -> list[tuple[float, int]]:
    """Variance of the difference that comes from the seeds, with its degrees of freedom; none without repeats."""
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
    """The true difference at which a two-sided t test has the power `POWER`."""
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
        warnings.simplefilter("ignore", DegenerateDataWarning)  # answered below
        for method in ("BCa", "percentile"):  # the first has no answer where most differences are equal
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
