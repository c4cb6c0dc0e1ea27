"""The front against its definition, and plots that are drawn whatever the names and figures are."""

import io
import random

import pytest
from PIL import Image

from helpers.run_folders import PROTOCOL, compared, make_run, make_sweep
from sr_lightning.report.drawing import pareto_front
from sr_lightning.report.plots import draw_plots


@pytest.mark.parametrize(("lower_x", "lower_y"), [(True, True), (True, False), (False, True), (False, False)])
def test_the_front_is_what_nothing_beats_in_both(lower_x, lower_y):
    draw = random.Random(3)
    points = [(draw.randint(0, 9), draw.randint(0, 9)) for _ in range(40)]

    def is_beaten(point):
        a, b = (1 if lower_x else -1), (1 if lower_y else -1)
        return any(a * x <= a * point[0] and b * y <= b * point[1] and (x, y) != point for x, y in points)

    assert pareto_front(points, lower_x=lower_x, lower_y=lower_y) == sorted({p for p in points if not is_beaten(p)})


def test_a_sweeps_plots(tmp_path):
    found = {plot.name: plot for plot in draw_plots(compared(make_sweep(tmp_path / "s")))}
    assert set(found) == {"x4_curves", "x4_effects"}  # all cost the same
    for plot in found.values():
        with Image.open(io.BytesIO(plot.png)) as image:
            assert image.width > 600
        assert plot.svg.startswith(b"<?xml")
        assert b"<script" not in plot.svg


def test_costs_and_perception(tmp_path):
    for i, name in enumerate(["$\\frac{", "<b>&", "=1", "a" * 300]):
        more = {"lpips": 0.3 - 0.01 * i, "params": 1000 * 10**i, "multiply_adds": 10**9 * (i + 1)}
        make_run(tmp_path / str(i), gain=1.0 + i, more=more, config={"kind": name})
    names = [plot.name for plot in draw_plots(compared(tmp_path))]
    assert names == ["x4_curves", "x4_effects", "x4_parameters", "x4_multiply_adds", "x4_perception_lpips"]


def test_groups_of_one_scale_have_plots_of_their_own(tmp_path):
    for i, kernel in enumerate(("bicubic", "bilinear")):
        make_run(tmp_path / str(i), protocol=PROTOCOL | {"lr_kernel": kernel})
    assert [plot.name for plot in draw_plots(compared(tmp_path))] == ["x4_group1_curves", "x4_group2_curves"]
