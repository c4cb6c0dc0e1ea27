"""What sample k is."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sr_lightning.data.sampling.crops import CropPlan, scale_of_batch, window

SIZES = [(100, 90), (64, 64), (77, 131), (128, 128)]


def test_each_pass_shows_every_image_once_in_another_order():
    plan = CropPlan(SIZES * 5, patch_size=16, seed=3)
    orders = [[plan.crop(k, 2).image for k in range(p * 20, p * 20 + 20)] for p in range(3)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_a_sample_depends_on_seed_and_k_only():
    one, other = CropPlan(SIZES, patch_size=16, seed=3), CropPlan(SIZES, patch_size=16, seed=3)
    backwards = {k: other.crop(k, 4) for k in reversed(range(200))}
    assert [one.crop(k, 4) for k in range(200)] == [backwards[k] for k in range(200)]
    assert [CropPlan(SIZES, patch_size=16, seed=4).crop(k, 4) for k in range(20)] != [one.crop(k, 4) for k in range(20)]


def test_successive_samples_are_those_asked_for_one_by_one():
    plan = CropPlan(SIZES, patch_size=16, seed=3)
    for samples in (range(40), range(17, 18), range(2**40, 2**40 + 9)):
        assert plan.crops(samples, 4) == [plan.crop(k, 4) for k in samples]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_windows_lie_inside_and_reach_every_position(scale):
    plan = CropPlan([(60, 47)], patch_size=9, seed=0)
    rows, columns = 60 // scale - 9 + 1, 47 // scale - 9 + 1
    seen = {(c.top, c.left) for c in plan.crops(range(6000), scale)}
    assert seen == set(itertools.product(range(rows), range(columns)))


def test_positions_and_turns_are_uniform():
    plan = CropPlan([(41, 41)], patch_size=32, seed=0)
    crops = plan.crops(range(20000), 1)
    for values, n in (([c.top for c in crops], 10), ([c.dihedral for c in crops], 8)):
        counts = np.bincount(values, minlength=n)
        expected = len(values) / n
        chi2 = ((counts - expected) ** 2 / expected).sum()
        assert chi2 < 30  # the 99.9 % quantile for 9 degrees of freedom is 27.9
    assert {
        c.dihedral for c in (CropPlan([(41, 41)], patch_size=32, seed=0, augment=False).crop(k, 1) for k in range(50))
    } == {0}


def test_orders_of_the_channels_are_uniform_and_change_nothing_else():
    plain, permuting = (CropPlan(SIZES, patch_size=16, seed=0, permute_channels=on) for on in (False, True))
    crops = permuting.crops(range(6000), 4)
    counts = Counter(crop.colours for crop in crops)
    assert sorted(counts) == list(itertools.permutations(range(3)))
    assert sum((n - 1000) ** 2 / 1000 for n in counts.values()) < 20.5  # 99.9 % for 5 degrees of freedom
    assert [replace(crop, colours=(0, 1, 2)) for crop in crops] == plain.crops(range(6000), 4)


def test_scales_of_batches_are_mixed_evenly():
    drawn = [scale_of_batch(1, batch, [2, 3, 4]) for batch in range(3000)]
    counts = [drawn.count(scale) for scale in (2, 3, 4)]
    assert min(counts) > 900
    assert scale_of_batch(1, 17, [4]) == 4


@pytest.mark.parametrize(("top", "left"), [(0, 0), (-5, 3), (-30, -31), (14, 20), (33, -2), (50, 60)])
def test_window_equals_numpys_symmetric_padding(top, left):
    image = np.random.default_rng(0).integers(0, 255, (17, 23, 3), dtype=np.uint8)
    padded = np.pad(image, ((80, 80), (80, 80), (0, 0)), mode="symmetric")
    expected = padded[80 + top : 80 + top + 12, 80 + left : 80 + left + 15]
    np.testing.assert_array_equal(window(image, top, left, 12, 15), expected)
