"""Intervals against a bootstrap made by hand, and against the truth."""

import math
import statistics

import numpy as np
import pytest
from scipy.stats import norm

from sr_lightning.evaluation.significance import Difference, over_seeds, paired_difference


def bca_by_hand(x, confidence, rng):
    """Efron and Tibshirani 1993, equations 14.9 to 14.15."""
    means = np.sort(rng.choice(x, (20000, len(x))).mean(1))
    bias = norm.ppf((means < x.mean()).mean())
    left_out = (x.sum() - x) / (len(x) - 1)
    d = left_out.mean() - left_out
    acceleration = (d**3).sum() / (6 * (d**2).sum() ** 1.5)
    ends = []
    for p in ((1 - confidence) / 2, (1 + confidence) / 2):
        z = bias + norm.ppf(p)
        ends.append(np.quantile(means, norm.cdf(bias + z / (1 - acceleration * z))))
    return ends


def test_the_interval_equals_one_made_by_hand():
    rng = np.random.default_rng(3)
    b = rng.normal(28, 4, 60)
    x = rng.exponential(0.3, 60) - 0.1  # skewed
    found = paired_difference((b + x).tolist(), b.tolist(), confidence=0.9)
    low, high = bca_by_hand(x, 0.9, rng)
    assert found.mean == pytest.approx(x.mean())
    noise = 0.05 * x.std() / math.sqrt(60)  # of quantiles of 9,999 means, in their deviation
    assert (found.low, found.high) == pytest.approx((low, high), abs=2 * noise)
    assert (found.n, found.confidence) == (60, 0.9)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        difficulty = rng.normal(28, 5, 40)  # shared by both, and much larger than their difference
        a, b = difficulty + rng.normal(0.2, 0.3, 40), difficulty + rng.normal(0, 0.3, 40)
        found = paired_difference(a.tolist(), b.tolist(), confidence=0.8)
        held += found.low <= 0.2 <= found.high
    assert 70 <= held <= 90  # within 2.5 deviations


def test_the_same_input_gives_the_same_interval():
    a, b = [28.1, 30.2, 31.0, 25.5, 27.7], [28.0, 30.3, 30.8, 25.1, 27.6]
    assert paired_difference(a, b) == paired_difference(a, b)
    forth, back = paired_difference(a, b), paired_difference(b, a)
    assert forth.mean == pytest.approx(-back.mean)
    assert forth.low < forth.mean < forth.high


def test_differences_without_a_spread():
    found = paired_difference([3.0, 4.0, 5.0], [2.0, 3.0, 4.0])
    assert (found.mean, found.low, found.high) == (1, 1, 1)
    one = paired_difference([3.0], [2.0])
    assert one.mean == 1
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    two = paired_difference([3.0, 5.0], [2.0, 3.0])
    assert 1 <= two.low < two.high <= 2
    # All but one are equal: the accelerated interval may have no answer, and no warning may escape.
    found = paired_difference([1.0, 0, 0, 0, 0], [0.0] * 5)
    assert 0 <= found.low < found.mean < found.high <= 1


def test_infinite_and_missing_figures():
    inf, nan = math.inf, math.nan
    both = paired_difference([inf, 30.0, 31.0], [inf, 29.0, 30.5])
    assert (both.mean, both.n) == (0.75, 2)
    exact = paired_difference([inf, inf], [inf, inf])
    assert (exact.mean, exact.low, exact.high, exact.n) == (0, 0, 0, 2)
    one = paired_difference([inf, 30.0], [40.0, 29.0])
    assert (one.mean, one.n) == (1, 1)
    assert math.isnan(one.low)
    missing = paired_difference([nan, 30.0, 31.0, 30.0], [0.9, 29.0, 30.0, nan])
    assert (missing.mean, missing.low, missing.n) == (1, 1, 2)
    assert math.isnan(paired_difference([], []).mean)


@pytest.mark.parametrize("wrong", [{"b": [1.0]}, {"b": [1.0, 2.0], "confidence": 95}])
def test_what_cannot_be_compared_is_refused(wrong):
    with pytest.raises(ValueError, match="found"):
        paired_difference([1.0, 2.0], **wrong)


def test_as_a_table_shows_it():
    assert str(Difference(0.034, -0.011, 0.072, 5, 0.95)) == "+0.03 dB [-0.01, 0.07]"
    assert str(Difference(-1.5, math.nan, math.nan, 1, 0.95)) == "-1.50 dB (no interval)"
    assert Difference(0.0012, 0.0011, 0.0013, 5, 0.95).text(unit="", digits=4) == "+0.0012 [0.0011, 0.0013]"


def test_spread_over_seeds():
    values = [28.6, 28.7, 28.5, 28.75]
    found = over_seeds(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.std == pytest.approx(np.std(values, ddof=1))
    assert (found.n, found.std) == (4, pytest.approx(statistics.stdev(values)))
    assert math.isnan(over_seeds([28.0]).std)
    assert over_seeds([28.0, math.inf]).mean == math.inf
    assert math.isnan(over_seeds([28.0, math.inf]).std)
