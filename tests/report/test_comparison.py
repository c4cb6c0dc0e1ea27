"""Groups, repeats and ranking of runs whose figures are known, and what torn and hostile folders leave of them."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from helpers.run_folders import PROTOCOL, compared, figures, make_run, make_sweep
from sr_lightning.errors import UserError
from sr_lightning.metrics import quality
from sr_lightning.report.entries import LOWER_IS_BETTER, METRICS
from sr_lightning.report.settings import short_names
from sr_lightning.report.table import unfinished
from sr_lightning.runs.find import find_runs
from sr_lightning.runs.record import read_run


def test_a_sweep_is_ranked_with_its_seeds_together(tmp_path):
    found = compared(make_sweep(tmp_path / "sweep"))
    (group,) = found.groups
    assert found.group_names(group) == ["beta=0 (2 seeds)", "beta=0.01 (2 seeds)", "beta=0.1 (2 seeds)"]
    assert [r.contender.label for r in group.ranked] == ["0, 1", "2, 3", "4, 5"]
    best, second, third = group.ranked
    assert best.to_best is None
    assert second.to_best.mean == pytest.approx(-0.1, abs=0.02)
    assert second.to_best.seeds == (2, 2)
    assert (second.better, second.images) == (0, 29)
    assert third.p <= second.p < 0.05
    assert [(found.label(e), e.status, e.reason) for e in found.unfinished] == [
        ("6", "failed", "CUDA out of memory"),
        ("7", "incomplete", "step 50 of 100"),
    ]
    assert not any("images are the least" in note for note in found.notes)  # the difference is over 29


def test_the_difference_is_the_t_test_of_both_sets(tmp_path):
    """Each set counts the same; by scipy's Welch test of the one set against the other with its sign turned."""
    sets = {"Five": 5, "Dozen": 12}
    for name, gain, seed in (("a", 1.0, 1), ("b", 0.9, 2)):
        make_run(tmp_path / name, gain=gain, beta=gain, seed=seed, sets=sets, config={"width": name})
    (group,) = compared(tmp_path / "a", tmp_path / "b").groups
    rows = {
        seed: {s: [r["psnr_y"] for r in figures(s, n, gain=gain, seed=seed)] for s, n in sets.items()}
        for seed, gain in ((1, 1.0), (2, 0.9))
    }
    one, other = (np.subtract(rows[2][s], rows[1][s]) for s in sets)
    interval = stats.ttest_ind(one, -other, equal_var=False).confidence_interval()
    found = group.ranked[1].to_best
    assert (found.mean, found.low, found.high) == pytest.approx(
        ((one.mean() + other.mean()) / 2, interval.low / 2, interval.high / 2)
    )


def test_one_note_says_that_a_difference_is_over_too_few_images(tmp_path):
    for name, gain in (("a", 1.0), ("b", 0.5)):
        make_run(tmp_path / name, gain=gain, beta=gain, sets={"Five": 5}, config={"width": name})
    found = compared(tmp_path / "a", tmp_path / "b")
    said = "6 images are the least that can show a significant difference; Five has 5."
    assert found.groups[0].ranked[1].to_best.excludes_zero
    assert [note for note in found.notes if "significant" in note] == [said]


def test_another_protocol_is_not_ranked_with_the_rest(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", protocol=PROTOCOL | {"lr_kernel": "bilinear"}, beta=1.0)
    make_run(tmp_path / "c", protocol=PROTOCOL | {"hardware": "a GPU"}, beta=2.0)
    first, second = compared(tmp_path).groups
    assert {r.contender.label for r in first.ranked} == {"a", "c"}
    assert second.reason == "another protocol than a (by lr_kernel)"
    assert any("b not ranked with the others" in note for note in compared(tmp_path).notes)


def test_other_images_of_the_same_name_are_not_ranked_with_the_rest(tmp_path):
    make_run(tmp_path / "a")
    rows = figures("Five", 5, gain=2.0, seed=1)
    for row in rows:
        row["bicubic_psnr_y"] += 0.5  # another LR
    make_run(tmp_path / "b", images=rows, beta=1.0)
    make_run(tmp_path / "c", sets={"Other": 5}, beta=2.0)
    found = [group.reason for group in compared(tmp_path).groups]
    assert found == ["", "other images, or another LR, than a under the same name of the set", "other sets than a"]


def test_only_the_sets_that_all_have_are_ranked_on(tmp_path):
    make_run(tmp_path / "a", sets={"Five": 5, "Many": 24})
    make_run(tmp_path / "b", sets={"Five": 5}, beta=1.0, gain=2.0)
    (group,) = compared(tmp_path).groups
    assert [at.set for at in group.sets] == ["Five"]
    assert [at.set for at in group.extra_sets] == ["Many"]
    assert group.ranked[0].contender.label == "b"


def test_scales_are_groups(tmp_path):
    make_run(tmp_path / "a", scale=4)
    make_run(tmp_path / "b", scale=2)
    assert [group.scale for group in compared(tmp_path).groups] == [2, 4]


def test_lower_is_better_where_it_is(tmp_path):
    make_run(tmp_path / "a", gain=2.0, more={"lpips": 0.3, "ssim_y": 0.9})
    make_run(tmp_path / "b", gain=1.0, beta=1.0, more={"lpips": 0.2, "ssim_y": 0.8})

    def order(metric):
        return [ranked.contender.label for ranked in compared(tmp_path, metric=metric).groups[0].ranked]

    assert order("lpips") == ["b", "a"]
    assert set(METRICS) == set(quality.METRICS)
    assert {m for m in METRICS if m in LOWER_IS_BETTER} == {
        m for m, kind in quality.METRICS.items() if not getattr(kind, "func", kind).higher_is_better
    }
    assert order("psnr_y") == order("ssim_y") == ["a", "b"]


def test_without_figures_of_images_there_is_no_interval(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", beta=1.0, gain=0.5)
    (tmp_path / "b/per_image.csv").unlink()
    (group,) = compared(tmp_path).groups
    assert group.ranked[1].to_best is None
    assert math.isnan(group.ranked[1].p)


def test_short_names_stay_unique():
    found = short_names(["loss.beta", "optimizer.beta", "optimizer.lr", "model._target_", "seed"])
    assert found == {
        "loss.beta": "loss.beta",
        "optimizer.beta": "optimizer.beta",
        "optimizer.lr": "lr",
        "model._target_": "model",
        "seed": "seed",
    }


def test_another_class_hides_the_keys_of_its_section(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", method="FSRCNN", config={"model": {"_target_": "sr_lightning.models.FSRCNN", "d": 56}})
    found = compared(tmp_path)
    assert found.keys == ["model._target_"]
    assert found.group_names(found.groups[0]) == ["EDSR", "FSRCNN"]


def test_runs_are_found_wherever_they_lie(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_sweep(tmp_path / "runs/sweep/one")
    make_run(tmp_path / "runs/train/10")
    make_run(tmp_path / "runs/train/9")
    assert len(find_runs(["runs"])) == 10
    assert [p.name for p in find_runs(["runs/train/*"])] == ["9", "10"]
    assert len(find_runs(["runs/train/9", "runs/train", str(tmp_path / "runs/train/9")])) == 2
    with pytest.raises(UserError, match="nothere is not there") as told:
        find_runs(["nothere", "runs/train/9/.hydra"])
    assert "holds no runs" in str(told.value)


TORN = {
    "results.json": ['{"rows": [', "[" * 100000, "[]", '{"rows": 3}', '{"rows": [1]}', "\x00\xff", "null"],
    "per_image.csv": ["", "set\n", "a,b\x00\n1,2\n", "set,scale,key\nFive,4,x\n", f"{'x' * 200000},b\n1,2\n"],
    "metrics.csv": ["step,val/gain\n1,nan\n2,x\n3"],
    ".hydra/config.yaml": [
        "a: [",
        "a: &x [*x]",
        "a: b: c",
        "- 1",
        "{" * 3000,
        "a: !!python/object/apply:os.system [x]",
    ],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in TORN.items() for text in texts])
def test_torn_files_cost_their_own_run_only(tmp_path, name, text):
    make_run(tmp_path / "a")
    (make_run(tmp_path / "b", beta=1.0) / name).write_text(text, encoding="latin-1")
    found = compared(tmp_path)
    assert "a" in {r.contender.label for group in found.groups for r in group.ranked}
    if name == "results.json":
        assert any("b/results.json" in finding for finding in found.findings)


def test_a_run_that_was_killed_before_its_test_is_named_with_what_finishes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(Path("b. c"), config={"model": {"_target_": "mine.Net"}})
    Path("b. c/results.json").unlink()
    found = compared(Path("b. c"))
    ((_, _, status),) = unfinished(found).rows
    assert status == "trained, not tested: python -m sr_lightning.train 'ckpt_path=b. c' model._target_=mine.Net"


def test_links_and_giants_are_named_and_not_read(tmp_path, monkeypatch):
    secret = make_run(tmp_path / "elsewhere", gain=9.0) / "results.json"
    run = make_run(tmp_path / "runs/a")
    (run / "results.json").unlink()
    (run / "results.json").symlink_to(secret)
    os.mkfifo(run / "train.log")
    (run / ".lock").symlink_to("/dev/zero")
    monkeypatch.setattr("sr_lightning.runs.record._LARGEST", 10)
    found = read_run(run)
    assert found.results == {}
    assert any("leads out of" in finding for finding in found.findings)
    assert any("metrics.csv: has" in finding for finding in found.findings)


def test_values_of_any_type_are_survived(tmp_path):
    run = make_run(tmp_path / "a")
    document = json.loads((run / "results.json").read_text())
    for row in document["rows"]:
        row |= {"params": "many", "images": None, "psnr_y": [1], "ssim_y": True, "seconds_per_image": 1e999}
    document |= {"minutes": {}, "protocol": 3, "run": [], "objective": "x", "steps": "y", "split": 7}
    (run / "results.json").write_text(json.dumps(document))
    make_run(tmp_path / "b", beta=1.0)
    found = compared(tmp_path)
    assert sum(len(group.ranked) for group in found.groups) == 2


def test_repeats_differ_in_their_seed_and_in_nothing_else(tmp_path):
    make_run(tmp_path / "a", seed=1)
    make_run(tmp_path / "b", seed=2)
    make_run(tmp_path / "c", seed=2)  # the same training again is no further draw
    (group,) = compared(tmp_path).groups
    assert [len(r.contender.runs) for r in group.ranked] == [1, 1, 1]
    make_run(tmp_path / "c", seed=3, protocol=PROTOCOL | {"lr_kernel": "box"})
    assert [[len(r.contender.runs) for r in g.ranked] for g in compared(tmp_path).groups] == [[2], [1]]


def test_the_self_ensemble_is_marked_and_ranked_with_the_rest(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", beta=1.0, gain=2.0, protocol=PROTOCOL | {"self_ensemble": True})
    (group,) = compared(tmp_path).groups
    assert [r.contender.label for r in group.ranked] == ["b+", "a"]
