"""Settings that change when a run continues: listed and refused, or accepted by name and in effect."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from helpers.faulty_runs import CONF, MINE, SETTINGS, Fault, Killed, checked, content, go_on, kept_in, kill, rows, run
from helpers.images import make_image
from sr_lightning.errors import UserError
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_small_runs")


def test_another_rate_leaves_the_count_of_steps_that_an_optimizer_keeps_beside_it():
    """Its corrections for the first steps would be made again, on averages that are long warm."""
    with pytest.raises(Killed):
        run(checked("optimizer=soap"), "a", Fault("on_train_batch_end", 5, kill))
    settings = ["optimizer=soap", "optimizer.lr=1e-3", "optimizer.precondition_frequency=3"]
    go_on(checked(*settings), "a", allowed=["optimizer"])
    saved = content("a")["optimizer_states"][0]
    (group,) = saved["param_groups"]
    assert (group["step"], group["initial_lr"]) == (7, 1e-3)
    assert {state["precondition_frequency"] for state in saved["state"].values()} == {3}  # repeated there


def stopped_at_4(folder="a", *more):
    with pytest.raises(Killed):
        run(checked(*more), folder, Fault("on_train_batch_end", 5, kill))


@pytest.mark.fault("T13", "refused, every key listed with what to type")
def test_all_that_differs_from_the_checkpoint_is_listed():
    """Whatever the file beside it says."""
    stopped_at_4()
    config = checked("optimizer.lr=0.5", "data.batch_size=2", "seed=5", "trainer.precision=bf16-mixed", "loss.alpha=2")
    with pytest.raises(UserError) as caught:
        kept_in("a", config=config)
    for key in ("optimizer.lr: the checkpoint was made with 0.01, found 0.5", "data.batch_size", "seed", "loss.alpha"):
        assert key in str(caught.value)
    assert "trainer.precision" in str(caught.value)
    assert "allow_change=[data.batch_size,data.seed,loss.alpha,optimizer.lr,seed,trainer.precision]" in str(
        caught.value
    )


@pytest.mark.parametrize("key", ["scale=3", "model.scale=3", "optimizer._target_=torch.optim.SGD"])
@pytest.mark.fault("T11", "refused, whatever is allowed")
def test_what_the_state_would_not_fit_is_never_accepted(key):
    stopped_at_4()
    config = checked()
    section, _, name = key.partition("=")[0].rpartition(".")
    (getattr(config, section) if section else vars(config))[name] = key.partition("=")[2]
    with pytest.raises(UserError, match="its state fits no other"):
        kept_in("a", ["scale", "model", "optimizer"], config)


@pytest.mark.parametrize("scheduler", ["one_cycle", "multistep"])
@pytest.mark.fault("T13", "accepted by name, and in effect")
def test_an_accepted_rate_takes_effect_and_the_moments_stay(scheduler):
    """The first rate after the change is the one of a run that had it from the start."""
    more = [f"scheduler={scheduler}"]
    run(checked(*more, "optimizer.lr=3e-3", "optimizer.weight_decay=0.1"), "straight")
    stopped_at_4("a", *more)
    moments = content("a")["optimizer_states"][0]["state"][0]["exp_avg"]
    seen = []

    def note(trainer, module):
        (optimizer,) = trainer.optimizers
        state = optimizer.state[next(iter(module.net.parameters()))]["exp_avg"]
        seen.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"], state.clone()))

    config = checked(*more, "optimizer.lr=3e-3", "optimizer.weight_decay=0.1")
    go_on(config, "a", Fault("on_train_batch_start", 4, note), allowed=["optimizer"])
    rates = [[float(row["lr"]) for row in rows(folder) if "lr" in row] for folder in ("straight", "a")]
    assert rates[0][4:] == rates[1][4:]
    assert rates[0][:3] != rates[1][:3]
    assert seen[0][1] == 0.1
    assert torch.equal(seen[0][2], moments)


@pytest.mark.fault("T13", "in effect at once")
def test_more_steps_take_effect_at_once():
    """Already in the first step, whose rate the checkpoint holds too."""
    rates = []

    def note(trainer, module):
        rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    config = checked("trainer.max_steps=12")
    run(config, "straight", Fault("on_train_batch_start", 4, note))
    stopped_at_4()
    go_on(config, "a", Fault("on_train_batch_start", 4, note))
    assert rates[0] == rates[1]


@pytest.mark.fault("T13", "refused, or accepted by name and in effect")
def test_an_accepted_batch_size_is_used_and_other_images_only_if_allowed():
    stopped_at_4()
    config = checked("data.batch_size=2")
    go_on(config, "a", allowed=["data.batch_size"])
    assert content("a")["SRDataModule"]["k"] == 4 * 4 + 3 * 2
    Image.fromarray(make_image(60, 60, 9)).save("pictures/new.png")
    with pytest.raises(UserError, match=r"have changed since.*allow_change=\[data\]"):
        go_on(checked("data.batch_size=2", "trainer.max_steps=8"), "a")
    go_on(checked("data.batch_size=2", "trainer.max_steps=8"), "a", allowed=["data"])
    assert content("a")["SRDataModule"]["k"] == 4 * 4 + 4 * 2
    assert Path("a/results_step7.json").is_file()
    assert Path("a/results.json").is_file()


@pytest.mark.fault("T13", "the best is found anew")
def test_the_best_of_other_validation_images_does_not_count():
    """Though it was better than any that comes after: a rate that ruins the network is typed too."""
    stopped_at_4()
    go_on(checked("data.val_crop=32", "optimizer.lr=1"), "a", allowed=["data.val_crop", "optimizer.lr"])
    validated = {int(row["step"]): float(row["val/psnr_y"]) for row in rows("a") if "val/psnr_y" in row}
    earlier, later = (max(validated[step] for step in steps) for steps in ((2, 4), (6, 7)))
    assert earlier > later
    (score,) = [v["best_model_score"] for k, v in content("a")["callbacks"].items() if k.startswith("Checkpoints")]
    assert score.item() == pytest.approx(later)
    assert validated[content("a", "best")["global_step"]] == later


@pytest.mark.usefixtures("_hydras_logging")
@pytest.mark.fault("T13", "a refusal changes nothing")
def test_changes_are_kept_for_the_next_time_and_refusals_change_nothing(capsys):
    assert main([*CONF, *SETTINGS, "hydra.run.dir=a", "trainer.max_steps=2"]) == 0
    saved = Path("a/.hydra/config.yaml").read_text()
    assert main(["ckpt_path=a", MINE, "optimizer.lr=0.5", "seed=4", "trainer.max_steps=3"]) == 2
    err = capsys.readouterr().err
    assert "optimizer.lr: the run was started with 0.01, found 0.5" in err
    assert "seed: the run was started with 1, found 4" in err
    assert "allow_change=[optimizer.lr,seed]" in err
    assert Path("a/.hydra/config.yaml").read_text() == saved
    assert main(["ckpt_path=a", MINE, "optimizer.lr=0.5", "trainer.max_steps=3", "allow_change=[optimizer.lr]"]) == 0
    assert content("a")["sr_lightning"]["config"]["optimizer"]["lr"] == 0.5
    assert main(["ckpt_path=a", MINE, "trainer.max_steps=4"]) == 0
    assert content("a")["optimizer_states"][0]["param_groups"][0]["initial_lr"] == 0.5
    assert main([*CONF, *SETTINGS, "allow_change=[seed]"]) == 2
    assert "allow_change: found ['seed'], but no run is continued" in capsys.readouterr().err
