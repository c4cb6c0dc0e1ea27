"""One fault each: what is kept, what is said, and that a continued run is the one that never stopped."""

import errno
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from helpers.faulty_runs import (
    AVERAGE,
    CONF,
    SETTINGS,
    Fault,
    Killed,
    Spoiling,
    assert_same,
    checked,
    content,
    go_on,
    kept_in,
    kill,
    no_memory,
    rows,
    run,
    terminate,
)
from helpers.images import make_image
from sr_lightning.builders import training
from sr_lightning.callbacks import ExactResume, NonFiniteGuard
from sr_lightning.checkpoints.integrity import find_resumable
from sr_lightning.checkpoints.lightning_io import SafeCheckpointIO
from sr_lightning.data.datasets import TrainSamples
from sr_lightning.errors import InterruptedRun, TrainingFailedError, UserError
from sr_lightning.loggers.metrics_csv import MetricsCsv
from sr_lightning.runs.lock import locked
from sr_lightning.runs.resume import prepare
from sr_lightning.runs.run import Run
from sr_lightning.train import main
from sr_lightning.training import final_test

pytestmark = pytest.mark.usefixtures("_small_runs")


# -- exact resume ------------------------------------------------------------------------------------

HOOKS = (
    "on_train_batch_start",
    "on_before_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
    "on_validation_start",
    "on_validation_batch_end",
    "on_validation_end",
)


@pytest.mark.parametrize(
    ("seed", "more"),
    [
        (0, []),
        (1, AVERAGE),
        (2, ["trainer.accumulate_grad_batches=2"]),
        (3, ["data.num_workers=2"]),
        (4, ["trainer.val_check_interval=3", "scheduler=multistep", "optimizer=sgd", "optimizer.lr=1e-2"]),
        (5, ["optimizer=soap", "optimizer.precondition_frequency=2"]),
    ],
)
@pytest.mark.parametrize("sequence", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.fault("T2", "bit-equal to a run that never stopped")
@pytest.mark.fault("T1", "bit-equal to a run that never stopped")
def test_any_number_of_interruptions_anywhere_leaves_no_trace(straight_run, seed, more, sequence):
    """Kills, signals and failures, at any step and hook, until the run is done."""
    config, straight = checked(*more), straight_run(*more)
    draw = random.Random(seed + 100 * sequence)
    stops = draw.randint(3, 5)
    for number in range(stops + 1):
        step = draw.randint(number, 7)
        fault = Fault(draw.choice(HOOKS), step, draw.choice([kill, terminate, no_memory]))
        faults = [fault] if number < stops else []
        try:
            found = go_on(config, "stopped", *faults)
            break
        except (Killed, InterruptedRun, TrainingFailedError):
            continue
    assert found == straight.objective
    assert_same(straight.folder, "stopped")


@pytest.mark.parametrize(
    ("hook", "at", "step", "more"),
    [
        ("on_train_batch_start", 1, 2, []),
        ("on_train_batch_start", 6, 7, []),
        ("on_validation_batch_end", 2, 2, []),
        ("on_validation_batch_end", 7, 7, []),
        ("on_train_batch_start", 6, 7, AVERAGE),
        ("on_validation_batch_end", 2, 2, AVERAGE),
    ],
)
@pytest.mark.fault("T4", "saved at the step, status 143, bit-equal")
def test_a_signal_takes_no_validation_away(straight_run, hook, at, step, more):
    """At the last step too, after which Lightning would do nothing any more; and while an average is in its place."""
    config, straight = checked(*more), straight_run(*more)
    with pytest.raises(InterruptedRun) as caught:
        run(config, "stopped", Fault(hook, at, terminate))
    assert caught.value.exit_status == 143
    assert content("stopped")["exact_resume"]["validate"]
    assert content("stopped")["global_step"] == step
    assert go_on(config, "stopped") == straight.objective
    assert_same(straight.folder, "stopped")


@pytest.mark.fault("T8", "the validation is repeated, bit-equal")
def test_a_failure_after_a_validation_takes_its_best_not_away(straight_run):
    """The score of step 2, the best of this run, had been noted, but its file had not been written."""
    config, straight = checked(), straight_run()
    assert content(straight.folder, "best")["global_step"] == 2
    with pytest.raises(TrainingFailedError):
        run(config, "a", Fault("on_validation_end", 2, no_memory))
    assert content("a")["exact_resume"]["validate"]
    go_on(config, "a")
    assert_same(straight.folder, "a")


@pytest.mark.parametrize("name", ["best", "last"])
@pytest.mark.fault("T5", "the validation is repeated, bit-equal")
def test_a_checkpoint_that_fails_halfway_is_written_by_the_run_that_goes_on(straight_run, monkeypatch, name):
    config, straight = checked(), straight_run()
    real = SafeCheckpointIO.save_checkpoint

    def full(self, checkpoint, path, storage_options=None):
        if Path(path).stem == name:
            patch.undo()
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, checkpoint, path, storage_options)

    with monkeypatch.context() as patch:
        patch.setattr(SafeCheckpointIO, "save_checkpoint", full)
        with pytest.raises(TrainingFailedError, match="no space is left"):
            run(config, "a")
    assert content("a")["global_step"] == 2
    go_on(config, "a")
    assert_same(straight.folder, "a")


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


@pytest.mark.fault("T2", "bit-equal")
def test_dropout_goes_on_where_it_stopped(straight_run):
    """Without validations in between, which put the random state back too."""
    config = checked("trainer.val_check_interval=7")
    straight = straight_run("trainer.val_check_interval=7")
    with pytest.raises(TrainingFailedError):
        run(config, "stopped", Fault("on_before_backward", 3, no_memory))
    go_on(config, "stopped")
    assert_same(straight.folder, "stopped")


@pytest.mark.fault("T1", "the same objective")
def test_a_run_killed_before_its_test_keeps_its_objective(straight_run, monkeypatch):
    config, straight = checked(), straight_run()
    with monkeypatch.context() as patch:
        patch.setattr(final_test, "final_test", lambda *_, **__: kill(None, None))
        with pytest.raises(Killed):
            run(config, "stopped")
    assert go_on(config, "stopped") == straight.objective


def test_the_last_step_is_validated_and_saved(straight_run):
    """7 steps, a validation every 2."""
    straight = straight_run()
    assert content(straight.folder)["global_step"] == 7
    assert [int(row["step"]) for row in rows(straight.folder) if "val/psnr_y" in row] == [2, 4, 6, 7]


def test_a_run_returns_the_gain_over_bicubic_of_its_best_validation(straight_run):
    """As a sweeper such as Optuna gets it."""
    straight = straight_run()
    gains = [float(row["val/gain"]) for row in rows(straight.folder) if "val/gain" in row]
    assert straight.objective == pytest.approx(max(gains), abs=1e-5)


@pytest.mark.fault("T8", "a sentence, status 1, the step before is saved")
def test_a_failure_saves_the_step_before():
    """Memory runs out in the sixth step, two steps after the last validation."""
    config = checked()
    with pytest.raises(TrainingFailedError, match=r"(?s)not enough memory.*\n  python -m .* ckpt_path=a"):
        run(config, "a", Fault("on_before_backward", 5, no_memory))
    assert content("a")["global_step"] == 5


@pytest.mark.fault("T14", "chosen by step")
def test_clocks_do_not_matter():
    config = checked()
    with pytest.raises(Killed):
        run(config, "a", Fault("on_train_batch_end", 5, kill))
    for name, when in (("last", 0), ("previous", 2**31)):
        os.utime(f"a/checkpoints/{name}.ckpt", (when, when))
    found = find_resumable(Path("a/checkpoints"))
    assert (found.newest.name, found.trailer.step) == ("last.ckpt", 4)
    Path("a/checkpoints/last.ckpt").rename("x")
    Path("a/checkpoints/previous.ckpt").rename("a/checkpoints/last.ckpt")
    Path("x").rename("a/checkpoints/previous.ckpt")
    found = find_resumable(Path("a/checkpoints"))
    assert (found.newest.name, found.trailer.step) == ("previous.ckpt", 4)


@pytest.mark.fault("T2", "bit-equal, the best kept")
def test_a_moved_folder_keeps_its_best(straight_run):
    config, straight = checked(), straight_run()
    with pytest.raises(Killed):
        run(config, "a", Fault("on_train_batch_end", 5, kill))
    Path("a").rename("b")
    go_on(config, "b")
    assert_same(straight.folder, "b")
    assert not Path("a").exists()


@pytest.mark.fault("T5", "metrics.csv as if never stopped")
def test_half_a_row_and_a_first_try_are_no_metrics(straight_run):
    config, straight = checked(), straight_run()
    with pytest.raises(Killed):
        run(config, "a", Fault("on_train_batch_end", 1, kill))
    with Path("a/metrics.csv").open("a") as file:
        file.write("3,0.1")
    run(config, "a")  # a sweep's job begins again in its folder
    assert rows("a") == rows(straight.folder)
    with Path("a/metrics.csv").open("a") as file:
        file.write("3,0.1")
    go_on(config, "a")
    assert rows("a") == rows(straight.folder)


# -- checkpoints ---------------------------------------------------------------------------------------


@pytest.mark.fault("T10", "the one before is used, and said; bit-equal")
def test_a_damaged_checkpoint_is_passed_over_and_told(straight_run):
    config, straight = checked(), straight_run()
    with pytest.raises(Killed):
        run(config, "a", Fault("on_train_batch_end", 5, kill))
    last = Path("a/checkpoints/last.ckpt")
    data = bytearray(last.read_bytes())
    data[len(data) // 2] ^= 4
    last.write_bytes(data)
    told = prepare(Path("a"), kept_in("a", config=config))
    assert "last.ckpt is damaged: the checksum of " in told[0]
    assert "Continuing from previous.ckpt, step 2, in its place" in told[0]
    assert "set aside as last.ckpt.damaged" in told[1]
    go_on(config, "a")
    assert_same(straight.folder, "a")
    assert Path("a/checkpoints/last.ckpt.damaged").read_bytes() == data


@pytest.mark.fault("T5", "a sentence, the old checkpoints whole, nothing left over")
def test_a_full_disk_ends_the_run_in_words(monkeypatch):
    real, saves = torch.save, []

    def full(*arguments):
        saves.append(1)
        if len(saves) > 2:
            arguments[1].write(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingFailedError, match=r"(?s)^a: no space is left to write.*continue with\n.*ckpt_path=a"):
        run(checked(), "a")
    assert find_resumable(Path("a/checkpoints")).trailer.step == 2
    assert not list(Path("a/checkpoints").glob("*.part"))


@pytest.mark.fault("T6", "a sentence that names it")
def test_a_folder_that_goes_away_is_named():
    def remove(trainer, module):
        Path("a").rename("elsewhere")

    with pytest.raises(TrainingFailedError, match=r"metrics\.csv: cannot be written any more .* moved away"):
        run(checked(), "a", Fault("on_train_batch_end", 3, remove))


# -- numbers that are none -----------------------------------------------------------------------------


@pytest.mark.fault("T7", "stopped, checkpoints finite")
def test_one_bad_gradient_element_ends_the_run_before_the_step():
    def spoil(trainer, module):
        module.net.body[2].weight.grad[0, 0, 0, 0] = float("nan")

    with pytest.raises(TrainingFailedError, match=r"a gradient is not finite at step 4: gradient"):
        run(checked(), "a", Spoiling(spoil, 4))
    assert content("a")["global_step"] == 4
    assert all(torch.isfinite(value).all() for value in content("a")["state_dict"].values())


@pytest.mark.fault("T7", "stopped, the best finite")
def test_an_image_that_is_no_number_never_becomes_the_best():
    """In the validation only: PSNR is taken of 8 bits, which hold no NaN."""

    def spoil(trainer, module):
        module.net.register_forward_hook(lambda net, _, out: out if net.training else out * float("nan"))

    with pytest.raises(TrainingFailedError, match=r"output is not finite at step 4: image 1\.png of heldout at x2"):
        run(checked(), "a", Fault("on_train_batch_end", 3, spoil))
    assert content("a", "best")["global_step"] == content("a")["global_step"] == 2


# -- processes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["dies", "hangs"])
@pytest.mark.fault("T9", "ended in time, the samples named, bit-equal after")
def test_a_worker_that_dies_or_hangs_ends_the_run_and_names_the_samples(straight_run, monkeypatch, fault):
    real = TrainSamples.__getitem__

    def broken(self, request):
        if 12 in request.samples and torch.utils.data.get_worker_info():
            while not Path("stepped").exists():  # before the first step there is nothing to save
                time.sleep(0.01)
            if fault == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(1000)
        return real(self, request)

    more = ["data.num_workers=1", "data.worker_timeout=2"]
    config, straight = checked(*more), straight_run(*more)
    with monkeypatch.context() as patch:
        patch.setattr(TrainSamples, "__getitem__", broken)
        stepped = Fault("on_train_batch_start", 1, lambda *_: Path("stepped").touch())
        with pytest.raises(TrainingFailedError, match=r"data: .*data\.num_workers=0") as caught:
            run(config, "a", stepped)
    if fault == "hangs":
        assert "the samples range(12, 16) did not come" in str(caught.value)
    assert content("a")["global_step"] in (1, 2, 3)  # batches are fetched ahead
    go_on(config, "a")
    assert_same(straight.folder, "a")


@pytest.mark.fault("P2", "refused, the processes named")
def test_processes_that_see_other_images_refuse_to_start(monkeypatch):
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)

    def gathered(everyone, own):
        everyone[:] = [own, [*own[:-1], "another"]]

    monkeypatch.setattr("torch.distributed.all_gather_object", gathered)
    with pytest.raises(UserError, match="process 0 and the processes 1 see different images"):
        run(checked(), "a")


@pytest.mark.fault("T12", "refused, nothing touched")
def test_a_second_run_in_a_folder_is_refused(capsys, tmp_path):
    folder = tmp_path / "a"
    with locked(folder, "hydra.run.dir"):
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        assert main([*CONF, *SETTINGS, f"hydra.run.dir={folder}"]) == 2
        assert main([*CONF, "-m", *SETTINGS, f"hydra.sweep.dir={folder}"]) == 2
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
        err = capsys.readouterr().err
        for key in ("hydra.run.dir", "hydra.sweep.dir"):
            assert f"{key}: {folder} is in use by another run (process {os.getpid()} on " in err
        (folder / ".hydra").mkdir()
        (folder / ".hydra/config.yaml").touch()
        assert main([f"ckpt_path={folder}"]) == 2
        assert "ckpt_path: " in capsys.readouterr().err


@pytest.mark.fault("T6", "refused at the start")
def test_a_file_in_the_place_of_the_folder_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main([*CONF, *SETTINGS, "hydra.run.dir=file/a"]) == 2
    assert "hydra.run.dir: cannot write into file/a: Not a directory" in capsys.readouterr().err


# -- changes -------------------------------------------------------------------------------------------


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


# A saved config may come from somebody else, so that a class that is not ours is typed again.
MINE = "model._target_=helpers.faulty_runs.Net"


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


@pytest.mark.usefixtures("_hydras_logging")
@pytest.mark.fault("T11", "refused: weights are no state")
def test_a_run_without_a_checkpoint_begins_again_and_files_of_weights_are_no_state(capsys):
    assert main([*CONF, *SETTINGS, "hydra.run.dir=a", "trainer.max_steps=2"]) == 0
    torch.save({"state_dict": {}}, "a/checkpoints/last.ckpt")
    Path("a/checkpoints/previous.ckpt").unlink(missing_ok=True)
    assert main(["ckpt_path=a", MINE]) in (1, 2)
    assert "there is no training to continue" in capsys.readouterr().err
    for path in Path("a/checkpoints").iterdir():
        path.unlink()
    assert main(["ckpt_path=a", MINE]) == 0
    assert "beginning a again" in capsys.readouterr().out
    assert content("a")["global_step"] == 2


def test_guards_are_on_by_default():
    config = checked()
    callbacks = training.build_callbacks(config, Run(Path("a"), "x"), csv=MetricsCsv("a"), started=0.0)
    assert {NonFiniteGuard, ExactResume} <= {type(callback) for callback in callbacks}


# -- folders ---------------------------------------------------------------------------------------------


@pytest.mark.fault("T22", "refused: the folder that is meant holds a run")
def test_a_folder_put_together_from_other_keys_is_judged_by_what_it_means(tmp_path, capsys):
    """The second run replaced the results of the first, and the lock lay in a folder called `a/s${seed}`."""
    settings = [*CONF, *SETTINGS, "trainer.max_steps=1", "trainer.val_check_interval=1"]
    assert main([*settings, "hydra.run.dir=a/s${seed}", "seed=3"]) == 0
    assert sorted(path.name for path in Path("a").iterdir()) == ["s3"]
    before = Path("a/s3/results.json").read_bytes()
    for folder in ("a/s${seed}", "a/s3", "a/b/../s${seed}"):
        capsys.readouterr()
        assert main([*settings, f"hydra.run.dir={folder}", "seed=3"]) == 2
        assert "s3 holds a run" in capsys.readouterr().err
    assert Path("a/s3/results.json").read_bytes() == before
    assert main([*settings, "hydra.run.dir=a/s${nothing}"]) == 2
    assert "hydra.run.dir: " in capsys.readouterr().err


@pytest.mark.fault("T22", "the jobs that are done stay done; two in one folder are refused")
def test_a_sweep_whose_folders_are_put_together_from_other_keys(capsys):
    settings = [
        *CONF,
        "-m",
        *SETTINGS,
        "trainer.max_steps=1",
        "trainer.val_check_interval=1",
        "hydra.sweep.dir=s${scale}",
    ]
    assert main([*settings, "hydra.sweep.subdir=x${seed}", "seed=1,2", "scale=2"]) == 0
    assert sorted(path.name for path in Path("s2").iterdir() if path.is_dir()) == ["x1", "x2"]
    before = [Path(f"s2/x{seed}/results.json").read_bytes() for seed in (1, 2)]
    capsys.readouterr()
    assert main([*settings, "hydra.sweep.subdir=x${seed}", "seed=1,2", "scale=2"]) == 0
    assert capsys.readouterr().out.count("done before") == 2
    assert [Path(f"s2/x{seed}/results.json").read_bytes() for seed in (1, 2)] == before
    assert main([*settings, "hydra.sweep.subdir=x${scale}", "seed=1,2", "scale=2"]) == 2
    assert "the jobs 0 and 1 would both lie in 'x2'" in capsys.readouterr().err
