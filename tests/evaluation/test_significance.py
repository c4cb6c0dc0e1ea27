"""Intervals against a bootstrap made by hand, and against the truth."""

import math
import statistics

import numpy as np
import pytest
from scipy import stats
from scipy.stats import norm

from sr_lightning.evaluation.significance import (
    Difference,
    holm,
    least_p,
    mean_difference,
    over_seeds,
    paired_difference,
)


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
    # All but one are equal: the accelerated interval may have no answer, and no warning may escape.
    found = paired_difference([1.0, *[0.0] * 24], [0.0] * 25)
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


def test_below_twenty_images_it_is_scipys_t_test():
    rng = np.random.default_rng(5)
    a, b = rng.normal(30, 3, 14), rng.normal(29, 3, 14)
    found = paired_difference(a.tolist(), b.tolist(), confidence=0.9)
    expected = stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.9)
    assert (found.low, found.high, found.p) == pytest.approx((interval.low, interval.high, expected.pvalue))
    assert (found.interval, found.n) == ("t", 14)
    assert paired_difference([*a, *a], [*b, *b]).interval == "BCa"


def test_several_sets_count_the_same_however_large_they_are():
    rng = np.random.default_rng(6)
    sets = [rng.normal(0.4, 0.2, 5), rng.normal(0.1, 0.5, 14)]
    found = mean_difference([[d.tolist()] for d in sets], [[[0.0] * len(d)] for d in sets])
    assert (found.mean, found.n) == (pytest.approx((sets[0].mean() + sets[1].mean()) / 2), 19)
    # Welch's test of two samples is about x - y: with y's sign turned it is about the sum, twice the mean.
    welch = stats.ttest_ind(sets[0], -sets[1], equal_var=False)
    interval = welch.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low / 2, interval.high / 2))
    assert found.p == pytest.approx(welch.pvalue)


def test_five_images_alone_never_show_anything():
    found = paired_difference([1.0, 1.01, 1.02, 1.03, 1.04], [0.0] * 5)
    assert found.low > 0.9
    flips = stats.permutation_test(
        ([1.0, 1.01, 1.02, 1.03, 1.04],), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    ranks = stats.wilcoxon([1.0, 1.01, 1.02, 1.03, 1.04])
    assert found.p == least_p(5) == flips.pvalue == ranks.pvalue == 0.0625
    assert least_p(6) < 0.05


def test_the_smallest_difference_that_is_found():
    """G*Power's tables for a paired t test, power 0.8, two-sided 5 %: d = 1.682 for 5 pairs, 0.660 for 20."""
    for n, d in ((5, 1.682), (14, 0.812), (20, 0.660)):
        values = np.linspace(-1, 1, n)
        found = paired_difference((values / values.std(ddof=1)).tolist(), [0.0] * n)
        assert found.detectable == pytest.approx(d, abs=2e-3)


def test_holm_against_the_worked_example():
    """Holm's procedure on 0.01, 0.04, 0.03, 0.005 gives 0.03, 0.06, 0.06, 0.02."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    found = holm([0.04, math.nan, 0.9])
    assert found[0] == pytest.approx(0.08)
    assert math.isnan(found[1])
    assert holm([]) == []


def test_seeds_widen_the_interval():
    rng = np.random.default_rng(7)
    images = rng.normal(30, 4, 14)
    run = lambda shift: (images + shift + rng.normal(0, 0.02, 14)).tolist()  # noqa: E731 (short, beside its use)
    a, b = [[run(0.1), run(0.3), run(0.2)]], [[run(0.0), run(-0.1), run(0.1)]]
    alone = paired_difference(np.mean(a[0], 0).tolist(), np.mean(b[0], 0).tolist())
    found = mean_difference(a, b)
    assert found.mean == pytest.approx(alone.mean)
    assert found.high - found.low > 3 * (alone.high - alone.low)
    assert found.seeds == (3, 3)
    # One run of b is judged by the spread of a's.
    one = mean_difference(a, [[b[0][0]]])
    assert one.high - one.low > found.high - found.low


def differences(rng, kind, shape):
    """Centred, of deviation 1."""
    return rng.standard_normal(shape) if kind == "normal" else rng.exponential(1, shape) - 1


def share_held(n, kind, trials, *, seeds=1, spread=0.0):
    """Of nominal 95 %: how many intervals hold the truth, 0.3."""
    rng, held = np.random.default_rng(n), 0
    for _ in range(trials):
        runs = [[rng.normal(0, spread) for _ in range(seeds)] for _ in range(2)]
        d = differences(rng, kind, n)
        a = [(0.3 + d + s + rng.normal(0, 0.1, n)).tolist() for s in runs[0]]
        b = [(s + rng.normal(0, 0.1, n)).tolist() for s in runs[1]]
        found = mean_difference([a], [b], seed=3)
        held += found.low <= 0.3 <= found.high
    return held / trials


@pytest.mark.parametrize(("n", "trials"), [(5, 400), (14, 400)])
def test_coverage_where_differences_are_normal(n, trials):
    assert abs(share_held(n, "normal", trials) - 0.95) < 3 * math.sqrt(0.95 * 0.05 / trials) + 0.01


def test_coverage_with_repeated_training():
    assert share_held(14, "normal", 300, seeds=3, spread=0.5) > 0.92


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "skewed"])
@pytest.mark.parametrize("n", [5, 14, 19, 20, 100])
def test_coverage_in_full(n, kind):
    found = share_held(n, kind, 2000)
    print(f"{kind}, {n} images: {100 * found:.1f} %")
    assert found > (0.91 if kind == "normal" else 0.80)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("n", [5, 14, 100])
def test_coverage_with_repeats_in_full(n, seeds):
    found = share_held(n, "normal", 2000, seeds=seeds, spread=0.3)
    print(f"{seeds} seeds, {n} images: {100 * found:.1f} %")
    assert found > 0.92
