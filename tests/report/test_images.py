"""Images of the page: chosen by difference, held without losses, and never more bytes than allowed."""

import io

import numpy as np
import pytest
from PIL import Image as PillowImage

from helpers.run_folders import compared, make_sweep
from sr_lightning.report import images as module
from sr_lightning.report.entries import At, Image
from sr_lightning.report.images import Versions, choose_images, difference_map, fit, places


def versions(number, *, height=90, width=120, methods=2):
    """Smooth images; the methods differ at one place, at the lower right."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:height, :width]
    hr = np.stack([(128 + 60 * np.sin(x / (7 + c) + number) * np.cos(y / 9)).astype(np.uint8) for c in range(3)], -1)
    own = {}
    for i in range(methods):
        own[i] = (hr // 8 * 8).astype(np.uint8)
        own[i][60:75, 90:110] = rng.integers(0, 255, (15, 20, 3))
    return Versions(At("Mine", 4), Image(number, f"{number}.png"), hr, np.roll(hr, 1, 0), own)


def pixels(data):
    with PillowImage.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def test_whole_images_come_back_pixel_for_pixel():
    one = versions(1)
    (found,) = fit([one], 10**6)
    assert found.is_whole
    for data, expected in zip(found.files, one.all(), strict=True):
        assert (pixels(data) == expected).all()


def test_where_they_do_not_fit_parts_are_shown_where_the_methods_differ(monkeypatch):
    monkeypatch.setattr(module, "_SIDES", (64, 32))
    several = [versions(i) for i in range(3)]
    whole = sum(len(file) for e in fit(several, 10**7) for file in e.files) * 4 / 3
    found = fit(several, int(whole * 0.75))
    assert len(found) == 3
    assert sum(len(file) for e in found for file in e.files) * 4 / 3 <= whole * 0.75
    for encoded, one in zip(found, several, strict=True):
        assert (encoded.height, encoded.width) == (64, 64)
        assert encoded.top <= 60 < 75 <= encoded.top + 64
        assert encoded.left <= 90 < 110 <= encoded.left + 64
        part = (slice(encoded.top, encoded.top + 64), slice(encoded.left, encoded.left + 64))
        assert (pixels(encoded.files[2]) == one.methods[0][part]).all()
        x, _, side = encoded.spots[0]
        assert encoded.left + x < 110
        assert encoded.left + x + side > 90


def test_and_where_even_those_do_not_the_first_ones(monkeypatch):
    monkeypatch.setattr(module, "_SIDES", (32,))
    found = fit([versions(i) for i in range(3)], 6000)
    assert 1 <= len(found) < 3
    assert fit([versions(0)], 10) == []
    assert fit([], 10) == []


@pytest.mark.parametrize("side", [1, 5, 12])
def test_places_against_every_window(side):
    values = np.random.default_rng(side).random((20, 30)).astype(np.float32)
    sums = {(y, x): values[y : y + side, x : x + side].sum() for y in range(21 - side) for x in range(31 - side)}
    first, *others = places(values, side, 3)
    assert sums[first] == pytest.approx(max(sums.values()))
    for y, x in others:
        assert abs(y - first[0]) >= side or abs(x - first[1]) >= side


def test_one_method_is_compared_with_bicubic():
    one = versions(1, methods=1)
    assert difference_map(one).max() > 0
    assert difference_map(versions(1, methods=2))[:50].max() == 0


def test_images_are_chosen_by_how_far_methods_differ(tmp_path):
    (group,) = compared(make_sweep(tmp_path / "s")).groups
    chosen = choose_images(group, 7)
    spread = {}
    for at in group.sets:
        tables = [[run.images[at] for run in r.contender.runs] for r in group.ranked]
        for image in tables[0][0]:
            means = [np.mean([t[image]["psnr_y"] for t in runs]) for runs in tables]
            spread[at, image] = max(means) - min(means)
    assert chosen == sorted(spread, key=spread.get, reverse=True)[:7]
