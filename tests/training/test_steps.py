"""Steps, averages and validations of a run as its user sees them: on the screen, in metrics.csv, in the results."""

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sr_lightning.callbacks import EMA, Checkpoints, Elapsed
from sr_lightning.errors import UserError
from sr_lightning.train import main
from sr_lightning.training.notices import batch_norm_notice

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def metrics(folder):
    with Path(folder, "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


def train(tiny, folder, *more):
    """A run of four steps, validated every two."""
    assert main([*tiny, f"hydra.run.dir={folder}", *more]) == 0
    return metrics(folder)


def logged(rows, name):
    return {int(row["step"]): float(row[name]) for row in rows if name in row}


def content(folder, name="last"):
    return torch.load(Path(folder, "checkpoints", f"{name}.ckpt"), weights_only=True)


class Stop(Exception):
    pass


def stop_at(monkeypatch, tiny, folder, step, *more):
    """The same run, ended by a failure right after a validation has been saved."""
    real = Checkpoints.on_validation_end

    def stopping(self, trainer, module):
        real(self, trainer, module)
        if trainer.global_step == step:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "on_validation_end", stopping)
        assert main([*tiny, f"hydra.run.dir={folder}", *more]) == 1


def test_the_first_and_the_last_step_are_logged_and_all_counts_agree(tiny, capsys):
    """log_every_n_steps is above the length; metrics.csv said 3 where the screen and the files said 4."""
    rows = train(tiny, "a", "trainer.log_every_n_steps=50")
    assert list(logged(rows, "train/loss")) == [1, 4]
    assert list(logged(rows, "lr")) == [1, 4]
    assert list(logged(rows, "val/psnr_y")) == [2, 4]
    assert re.findall(r"step +(\d+) +loss", capsys.readouterr().out) == ["2", "4"]
    assert {path.name[:11] for path in Path("a/samples").iterdir()} == {"step0000002", "step0000004", "test_heldou"}
    assert json.loads(Path("a/results.json").read_text())["steps"] == content("a")["global_step"] == 4


def test_the_loss_of_a_step_is_the_mean_over_what_it_accumulates_and_printed_beside_it(tiny, capsys):
    """The samples of step 1 and its weights are the same; the last batch's loss alone would be another."""
    every = "trainer.val_check_interval=1"
    whole = train(tiny, "whole", every, "trainer.max_steps=1")
    capsys.readouterr()
    halves = train(tiny, "halves", every, "trainer.accumulate_grad_batches=2")
    for name in ("train/loss", "train/loss/pixel"):
        assert logged(halves, name)[1] == pytest.approx(logged(whole, name)[1], rel=1e-5)
    printed = dict(re.findall(r"step +(\d+) +loss ([\d.]+)", capsys.readouterr().out))
    assert printed == {str(step): f"{loss:.4f}" for step, loss in logged(halves, "train/loss").items()}


# -- average of the weights ------------------------------------------------------------------------------

# The learning rate is far too high: it spoils the weights, and so step 1 is the best.
AVERAGED = ["optimizer.lr=0.3", "scheduler=constant", "trainer.val_check_interval=1"]
_raw = {}


def raw_psnr(tiny):
    """Step -> PSNR without an average: of one run, which serves the three tests below."""
    if not _raw:
        _raw.update(logged(train(tiny, "raw", *AVERAGED), "val/psnr_y"))
    return _raw


def test_before_its_first_update_the_average_is_the_current_weights(tiny):
    """It was the untrained network: gain 0 at the first validation, and in best.ckpt."""
    average = logged(train(tiny, "average", *AVERAGED, "callbacks=ema", "callbacks.ema.start=3"), "val/psnr_y")
    assert [average[step] for step in (1, 2, 3)] == [raw_psnr(tiny)[step] for step in (1, 2, 3)]
    before = torch.load("average/checkpoints/previous.ckpt", weights_only=True)
    assert before["global_step"] == 3
    for name, weight in before["state_dict"].items():
        assert torch.equal(weight, before["current_model_state"][name]), name
    assert content("average", "best")["global_step"] == 4


def test_a_validation_before_the_average_has_begun_chooses_no_best(tiny):
    """Though it was the better one."""
    average = logged(train(tiny, "average", *AVERAGED, "callbacks=ema", "callbacks.ema.start=2"), "val/psnr_y")
    assert raw_psnr(tiny)[1] == average[1] > max(average[3], average[4])
    assert content("average", "best")["global_step"] in (3, 4)


def test_updates_come_every_n_steps_and_not_at_the_first(tiny):
    """`every=1000` had the average of step 1 for a thousand steps."""
    average = logged(train(tiny, "average", *AVERAGED, "callbacks=ema", "callbacks.ema.every=3"), "val/psnr_y")
    raw = raw_psnr(tiny)
    assert [average[step] == raw[step] for step in (1, 2, 3, 4)] == [True, True, True, False]
    assert average[4] == average[3]


@pytest.mark.parametrize("more", ["start=100", "every=5"])
def test_an_average_that_never_begins_is_refused(tiny, capsys, more):
    assert main([*tiny, "hydra.run.dir=a", "callbacks=ema", f"callbacks.ema.{more}"]) == 2
    assert "training ends at step 4" in capsys.readouterr().err
    assert not Path("a").exists()


# -- validation ------------------------------------------------------------------------------------------


@pytest.fixture
def separate(tiny, folder):
    """Validated on images of their own, with ready-made LR."""
    for kind, step in (("hr", 1), ("lr", 4)):
        Path("val", kind).mkdir(parents=True)
        for i in range(2):
            with Image.open(folder / f"img_{4 + i}.png") as image:
                image.crop((0, 0, 96, 96)).resize((96 // step, 96 // step)).save(f"val/{kind}/{i}.png")
    return [*tiny, "data.val_holdout=0", "+data.val.Mine={hr: val/hr, lr: val/lr}"]


@pytest.mark.fault("T23", "refused; on demand the best is chosen anew")
def test_other_validation_images_are_refused_and_on_demand_the_best_is_chosen_anew(separate, monkeypatch, capsys):
    """The run went on without a word, and its best compared figures of different images.

    Its minutes are those of all pieces.
    """
    with monkeypatch.context() as patch:
        patch.setattr(Elapsed, "seconds", 3600.0)
        stop_at(patch, separate, "a", 2)
    best = content("a", "best")
    for kind in ("hr", "lr"):
        path = Path(f"val/{kind}/1.png")
        as_before = path.read_bytes()
        with Image.open(path) as image:
            brighter = image.point(lambda level: min(level + 2, 255))
        brighter.save(path)
        capsys.readouterr()
        assert main(["ckpt_path=a"]) == 2
        assert "data.val: the validation images" in (said := capsys.readouterr().err)
        assert "allow_change=[data.val]" in said
        assert not Path("a/results.json").exists()
        if kind == "hr":  # so that each is refused for itself
            path.write_bytes(as_before)
    assert main(["ckpt_path=a", "allow_change=[data.val]"]) == 0
    out = capsys.readouterr().out
    assert "the best is chosen anew" in out
    assert (best["global_step"], content("a", "best")["global_step"]) == (2, 4)
    figures = logged(metrics("a"), "val/gain")
    results = json.loads(Path("a/results.json").read_text())
    assert results["objective"] == pytest.approx(figures[4], abs=1e-4)
    assert 60 < results["minutes"] < 70
    assert re.search(r"4 steps in 6\d\.\d min", out)


def flat(path):
    Image.fromarray(np.full((96, 96, 3), 90, np.uint8)).save(path)


@pytest.mark.fault("T7", "left out of means, best and objective, and named")
def test_an_exact_image_is_left_out_of_means_and_objective_and_named(separate, capsys):
    """One flat image made the gain -inf and the objective null, and froze the best."""
    settings = ["trainer.max_steps=2", "data.val.Mine.lr=null"]
    alone = train(separate, "alone", *settings, "+data.val.Mine.files=[1.png]")
    flat("val/hr/0.png")
    rows = train(separate, "both", *settings)
    assert logged(rows, "val/gain") == logged(alone, "val/gain")
    assert logged(rows, "val/psnr_y") == logged(alone, "val/psnr_y")
    assert "validation without the images that come out exactly: 0.png" in capsys.readouterr().out
    one, other = (json.loads(Path(name, "results.json").read_text())["objective"] for name in ("alone", "both"))
    assert one == other


@pytest.mark.fault("T7", "refused")
def test_flat_images_alone_are_refused(separate, capsys):
    for name in ("0.png", "1.png"):
        flat(f"val/hr/{name}")
    assert main([*separate, "data.val.Mine.lr=null"]) == 2
    assert "data.val: bicubic restores every image exactly (0.png, 1.png)" in capsys.readouterr().err


# -- notices ---------------------------------------------------------------------------------------------


def test_batch_normalisation_over_parts_of_a_batch_is_said(tiny, capsys):
    settings = ["model=srresnet", "model.n_feats=4", "model.n_resblocks=1", "trainer.max_steps=1"]
    settings += ["trainer.accumulate_grad_batches=2"]
    train([argument for argument in tiny if not argument.startswith("model.")], "a", *settings)
    assert "SRResNet has batch normalisation, which sees 1 samples at a time here" in capsys.readouterr().out
    alone = SimpleNamespace(world_size=1, accumulate_grad_batches=1)
    assert batch_norm_notice(nn.Sequential(nn.BatchNorm2d(3)), alone, 2) is None
    several = SimpleNamespace(world_size=4, accumulate_grad_batches=1)
    assert "sees 4 samples" in batch_norm_notice(nn.Sequential(nn.BatchNorm2d(3)), several, 16)
    assert batch_norm_notice(nn.Sequential(nn.BatchNorm2d(3)), several, 16, is_synchronised=True) is None
    assert batch_norm_notice(nn.Sequential(nn.Conv2d(3, 3, 1)), several, 16) is None


def test_an_average_needs_sensible_values():
    with pytest.raises(UserError, match="decay"):
        EMA(decay=1.5)
