"""Rows, means, files and tables."""

import csv
import errno
import json
import math
import re

import pytest
from rich.console import Console

from helpers.evaluations import SCORES, pair
from sr_lightning.evaluation.results import write_results
from sr_lightning.evaluation.scores import BICUBIC, ImageScore, MethodId, gather_scores, logged_values, summarise
from sr_lightning.evaluation.tables import QUALITY, TRAINING, Record, latex, markdown, records, terminal

EDSR = MethodId("EDSR", "checkpoints/best.ckpt")


@pytest.mark.fault("P6", "of images, not of batches")
def test_means_over_images():
    base, a, _, b = summarise(SCORES)
    assert (base.method, base.psnr_y) == (BICUBIC, pytest.approx((29 + 38 + 20.5) / 3))
    assert (a.set, a.scale, a.method, a.images) == ("A", 2, EDSR, 3)
    assert a.psnr_y == pytest.approx(30.0)
    assert a.ssim_y == pytest.approx((0.9 + 0.95 + 0.8) / 3)
    assert a.gain == pytest.approx(30.0 - (29 + 38 + 20.5) / 3)
    assert a.lowest_gain == pytest.approx(-0.5)
    assert a.seconds == 0.2
    assert b.psnr_y == math.inf


def test_names_of_logged_values():
    values = logged_values(summarise(SCORES[:2]), "val")
    assert values == {
        "val/A/x2/psnr_y": 30.0,
        "val/A/x2/ssim_y": 0.9,
        "val/A/x2/bicubic_psnr_y": 29.0,
        "val/A/x2/bicubic_ssim_y": 0.85,
    }


def test_a_further_metric_leaves_out_images_that_are_too_small_for_it():
    scores = [ImageScore("A", 2, "x", i, BICUBIC, 1, 1, 1, {"m": m}) for i, m in enumerate((0.2, math.nan, 0.4))]
    assert summarise(scores)[0].more["m"] == pytest.approx(0.3)


def test_files(tmp_path):
    write_results(
        tmp_path,
        SCORES,
        facts={EDSR: {"params": 123}},
        costs={(EDSR, 2): {"multiply_adds": 7}},
        protocol={"lr_kernel": "matlab_box"},
        extra={"objective": float("nan")},
    )
    document = json.loads((tmp_path / "results.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert document["protocol"]["lr_kernel"] == "matlab_box"
    assert document["protocol"]["channel"] == "Y"
    assert [(r["set"], r["scale"], r["method"]) for r in document["rows"]] == [
        ("A", 2, "bicubic"),
        ("A", 2, "EDSR"),
        ("B", 4, "bicubic"),
        ("B", 4, "EDSR"),
    ]
    assert document["rows"][0]["checkpoint"] is None
    assert document["rows"][1]["params"] == 123
    assert [row.get("multiply_adds") for row in document["rows"]] == [None, 7, None, None]
    assert document["rows"][3]["psnr_y"] is None  # infinite
    assert document["objective"] is None
    with (tmp_path / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["0.png", "1.png", "2.png", "0.png"]
    assert {(row["method"], row["checkpoint"]) for row in rows} == {("EDSR", "checkpoints/best.ckpt")}
    assert float(rows[2]["gain"]) == -0.5
    assert float(rows[2]["bicubic_psnr_y"]) == 20.5


def test_the_table_fits_80_columns(capsys):
    scores = pair("sample_test", 4, 0, (30.0, 0.9, 0.5), (29.0, 0.85, 0.01), method=MethodId("MyOwnNetwork"))
    facts = {MethodId("MyOwnNetwork"): {"params": 40_729_603}}
    Console(width=80).print(terminal(records(summarise(scores), facts), TRAINING))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for part in ("sample_test x4", "bicubic", "MyOwnNetwork", "30.00", "0.8500", "+1.00", "40.73 M"):
        assert part in text


def test_published_rows_stand_apart(capsys):
    lines = [
        Record("Set5", 4, "Mine", psnr_y=31.0, psnr_y_std=0.02, ssim_y=0.88, params=28_288),
        Record("Set5", 4, "VDSR", kind="published", psnr_y=31.35, params="665K", trained_on="291"),
        Record("Set5", 4, "DRRN", kind="published", psnr_y=31.68, trained_on="291"),
    ]
    Console(width=80).print(terminal(lines, (*QUALITY, "trained on")))
    out = capsys.readouterr().out
    assert re.search(r"Set5 x4 +Mine +31.00±0.02", out)
    assert re.search(r"published +VDSR +31.35 +665K +291", out)
    assert out.count("published") == 1
    assert markdown(lines, ("PSNR-Y",)).splitlines()[-1] == "| *Set5 x4* | *DRRN* | *31.68* |"


@pytest.mark.fault("S6", "escaped")
def test_latex_and_markdown_escape_what_means_something_to_them():
    lines = [Record("a_b", 2, "50% & #1|x {y} ~ ^ \\ $", psnr_y=30.0, psnr_y_std=0.1)]
    row = latex(lines, ("PSNR-Y",)).splitlines()[5]
    name = r"50\% \& \#1|x \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{} \$"
    assert row == rf"a\_b x2 & {name} & 30.00$\pm$0.10 \\"
    assert r"| a\_b x2 | 50% & #1\|x {y} ~ ^ \\ $ | 30.00±0.10 |" in markdown(lines, ("PSNR-Y",))


def test_rows_are_ordered_as_people_count():
    rows = [ImageScore(s, n, "x", 0, BICUBIC, 1, 1, 1) for s, n in (("Set14", 2), ("Set5", 8), ("Set5", 4), ("A", 3))]
    assert [(row.set, row.scale) for row in gather_scores(rows)] == [("A", 3), ("Set5", 4), ("Set5", 8), ("Set14", 2)]


def test_a_full_disk_leaves_both_files_of_an_earlier_test(tmp_path, monkeypatch):
    """Figures per image of one test beside the means of another would be taken for one."""
    before = pair("A", 2, 0, (30.0, 0.9, 0.5), (29.0, 0.85, 0.01), method=MethodId("EDSR"))
    write_results(tmp_path, before, facts={MethodId("EDSR"): {}}, protocol={}, extra={})
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self, rows):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(csv.DictWriter, "writerows", full)
    after = pair("B", 2, 0, (31.0, 0.9, 0.5), (29.0, 0.85, 0.01), method=MethodId("EDSR"))
    with pytest.raises(OSError, match="No space left"):
        write_results(tmp_path, after, facts={MethodId("EDSR"): {}}, protocol={}, extra={})
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files
