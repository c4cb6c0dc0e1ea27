"""Going on from an earlier step: what is rewound, what a refused attempt leaves as it was, and what is saved at all."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from sr_lightning.checkpoints.integrity import read_trailer
from sr_lightning.runs.resume import set_results_aside
from sr_lightning.train import main

STEPS = 6


@pytest.fixture(scope="module")
def _finished(tmp_path_factory):
    """A folder for the finished run that the tests copy."""
    return tmp_path_factory.mktemp("finished") / "run"


@pytest.fixture
def run(_finished, tiny):
    """A finished run of six steps, validated at every second one."""
    if not _finished.exists():
        settings = ["trainer.max_steps=6", "optimizer.lr=1e-2", "data.batch_size=4", "callbacks.pictures=null"]
        assert main([*tiny, *settings, f"hydra.run.dir={_finished}"]) == 0
    return Path(shutil.copytree(_finished, "run"))


def results(run):
    return json.loads((run / "results.json").read_text())


def content(run):
    """All files but the log."""
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.suffix != ".log"}


def saved(run, name="last"):
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)


def gain(run):
    return next(row["gain"] for row in results(run)["rows"] if row["method"] != "bicubic")


@pytest.mark.parametrize("checkpoint", ["", "/checkpoints/previous.ckpt"])
def test_a_refused_attempt_leaves_a_finished_run_as_it_was(run, capsys, checkpoint):
    before = content(run)
    assert main([f"ckpt_path={run}{checkpoint}", "trainer.max_steps=8", "trainer.accumulate_grad_batches=3"]) == 2
    assert "data.batch_size: found 4, allowed: a multiple of 3" in capsys.readouterr().err
    assert content(run) == before


def test_other_images_leave_a_finished_run_as_it_was(run, capsys):
    before = content(run)
    images = Path(OmegaConf.load(run / ".hydra/config.yaml").data.train_dir)
    another = Path(shutil.copy(next(images.iterdir()), images / "zz.png"))
    try:
        assert main([f"ckpt_path={run}", "trainer.max_steps=8"]) == 2
    finally:
        another.unlink()
    assert "the training images or how they are cut have changed" in capsys.readouterr().err
    assert content(run) == before


def test_a_best_of_later_steps_is_set_aside(run):
    """The tested weights are those of the run that ends earlier, and its objective is their gain."""
    checkpoints = run / "checkpoints"
    assert read_trailer(checkpoints / "best.ckpt").step == STEPS  # it learns at every step
    assert main([f"ckpt_path={checkpoints}/previous.ckpt", "trainer.max_steps=4"]) == 0
    assert {path.name for path in checkpoints.iterdir()} == {"previous.ckpt", "step6.ckpt", "best_step6.ckpt"}
    assert results(run)["steps"] == 4
    assert json.loads((run / "results_step6.json").read_text())["steps"] == STEPS
    assert gain(run) < json.loads((run / "results_step6.json").read_text())["objective"]
    assert gain(run) == pytest.approx(results(run)["objective"], abs=1e-4)


def test_a_best_that_is_lost_is_found_anew(run):
    (run / "checkpoints/best.ckpt").unlink()
    assert main([f"ckpt_path={run}", "trainer.max_steps=8", "optimizer.lr=1", "allow_change=[optimizer]"]) == 0
    assert read_trailer(run / "checkpoints/best.ckpt").step == 8
    assert gain(run) == pytest.approx(results(run)["objective"], abs=1e-4)


def test_other_accumulation_keeps_steps_samples_and_validations_together(run):
    """In five steps' batches, counted in halves, a step would take two samples of four and be validated too late."""
    checkpoint = f"{run}/checkpoints/previous.ckpt"
    assert main([f"ckpt_path={checkpoint}", "trainer.max_steps=5"]) == 0
    assert main([f"ckpt_path={run}", "trainer.max_steps=8", "trainer.accumulate_grad_batches=2"]) == 0
    assert saved(run)["SRDataModule"]["k"] == 8 * 4
    lines = (run / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    assert [int(row["step"]) for row in rows if row.get("train/loss")] == list(range(1, 9))
    assert [int(row["step"]) for row in rows if row.get("val/psnr_y")] == [2, 4, 5, 6, 8]


def test_a_run_without_validations_is_saved_all_the_same(tiny):
    """At every `val_check_interval`, and at its end, where it is the best too."""
    settings = [*tiny, "trainer.limit_val_batches=0", "callbacks.pictures=null", "trainer.max_steps=5"]
    assert main([*settings, "hydra.run.dir=a"]) == 0
    steps = {path.stem: read_trailer(path).step for path in Path("a/checkpoints").iterdir()}
    assert steps == {"best": 5, "last": 5, "previous": 4}
    assert main([*settings, "hydra.run.dir=b", "trainer.max_steps=3"]) == 0
    assert main(["ckpt_path=b", "trainer.max_steps=5", "allow_change=[scheduler]"]) == 0
    assert saved(Path("b"))["SRDataModule"] == saved(Path("a"))["SRDataModule"]


def test_a_monitored_value_that_is_no_number_is_refused(tiny, capsys):
    settings = ["+val_metrics.nan._target_=mine.NoNumber", "callbacks.checkpoints.monitor=val/nan"]
    Path("mine.py").write_text(
        "class NoNumber:\n    higher_is_better = True\n    def __call__(self, sr, hr):\n        return float('nan')\n"
    )
    assert main([*tiny, *settings]) == 2
    assert "callbacks.checkpoints.monitor: val/nan is not a number at step 2" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["val", "test"])
def test_a_share_of_less_than_an_image_is_refused_before_the_training(tiny, capsys, kind):
    assert main([*tiny, f"trainer.limit_{kind}_batches=0.1", "hydra.run.dir=a"]) == 2
    said = f"trainer.limit_{kind}_batches: found 0.1, less than one of 2 images; allowed: a larger share"
    assert said in capsys.readouterr().err
    assert not Path("a").exists()


def test_a_schedule_that_is_over_before_the_checkpoint_is_named(tiny, capsys):
    schedule = "scheduler={_target_: torch.optim.lr_scheduler.OneCycleLR, max_lr: 0.01, total_steps: %d}"
    assert main([*tiny, schedule % 4, "hydra.run.dir=a"]) == 0
    assert main(["ckpt_path=a", schedule % 3, "trainer.max_steps=6", "allow_change=[scheduler]"]) == 2
    said = "scheduler: OneCycleLR cannot be at step 4: "
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("steps", ["1" + 300 * "0", "-3", '"../../x"', "true", "null"])
def test_steps_in_results_that_are_none_do_not_name_a_file(tmp_path, steps):
    (tmp_path / "results.json").write_text(f'{{"steps": {steps}}}')
    set_results_aside(tmp_path, step=4, max_steps=8)
    assert [path.name for path in tmp_path.iterdir()] == ["results_step4.json"]
