"""Rows, means, files and the table."""

import csv
import json
import math

import pytest
from rich.console import Console

from sr_lightning.results import PictureResult, gathered, results_table, summarise, write_results

ROWS = [
    PictureResult("A", 2, "x.png", 30.0, 0.90, 29.0, 0.85, 0.5, 0.01),
    PictureResult("A", 2, "y.png", 40.0, 0.95, 38.0, 0.94, 0.1, 0.02),
    PictureResult("A", 2, "z.png", 20.0, 0.80, 20.5, 0.79, 0.2, 0.03),
    PictureResult("B", 4, "x.png", math.inf, 1.0, 25.0, 0.70, 0.1, 0.01),
]


def test_means_over_pictures():
    a, b = summarise(ROWS)
    assert (a.set, a.scale, a.images) == ("A", 2, 3)
    assert a.psnr_y == pytest.approx(30.0)
    assert a.ssim_y == pytest.approx((0.9 + 0.95 + 0.8) / 3)
    assert a.gain == pytest.approx(30.0 - (29 + 38 + 20.5) / 3)
    assert a.lowest_gain == pytest.approx(-0.5)
    assert a.seconds == 0.2
    assert b.psnr_y == math.inf


def test_files(tmp_path):
    write_results(
        tmp_path,
        ROWS,
        method="EDSR",
        checkpoint="checkpoints/best.ckpt",
        params=123,
        degradation="matlab_bicubic",
        extra={"objective": float("nan")},
    )
    document = json.loads((tmp_path / "results.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert document["protocol"]["lr_kernel"] == "matlab_bicubic"
    assert document["protocol"]["channel"] == "Y"
    assert [(r["set"], r["scale"], r["method"]) for r in document["rows"]] == [
        ("A", 2, "bicubic"),
        ("A", 2, "EDSR"),
        ("B", 4, "bicubic"),
        ("B", 4, "EDSR"),
    ]
    assert document["rows"][0]["checkpoint"] is None
    assert document["rows"][1]["params"] == 123
    assert document["rows"][3]["psnr_y"] is None  # infinite
    assert document["objective"] is None
    with (tmp_path / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["x.png", "y.png", "z.png", "x.png"]
    assert float(rows[2]["gain"]) == -0.5


def test_the_table_fits_80_columns(capsys):
    rows = [PictureResult("sample_test", 4, "x.png", 30.0, 0.9, 29.0, 0.85, 0.5, 0.01)]
    console = Console(width=80)
    console.print(results_table(rows, method="MyOwnNetwork", params=40_729_603))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for part in ("sample_test x4", "bicubic", "MyOwnNetwork", "30.00", "0.8500", "+1.00", "40.73 M"):
        assert part in text


def test_rows_are_ordered_as_people_count():
    rows = [PictureResult(s, n, "x", 1, 1, 1, 1, 1, 1) for s, n in (("Set14", 2), ("Set5", 8), ("Set5", 4), ("A", 3))]
    assert [(row.set, row.scale) for row in gathered(rows)] == [("A", 3), ("Set5", 4), ("Set5", 8), ("Set14", 2)]
