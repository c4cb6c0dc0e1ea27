"""A run that was stopped and goes on is the run that never stopped, bit by bit; and what that one leaves."""

import random
import shutil
import socket
import time
from pathlib import Path

import pytest

from helpers.equality import bit_identical
from helpers.faulty_runs import (
    AVERAGE,
    Fault,
    Killed,
    assert_same,
    checked,
    content,
    go_on,
    kill,
    no_memory,
    rows,
    run,
    terminate,
)
from sr_lightning.errors import InterruptedRun, TrainingFailedError

pytestmark = pytest.mark.usefixtures("_small_runs")

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


@pytest.mark.fault("T2", "bit-equal")
def test_dropout_goes_on_where_it_stopped(straight_run):
    """Without validations in between, which put the random state back too."""
    config = checked("trainer.val_check_interval=7")
    straight = straight_run("trainer.val_check_interval=7")
    with pytest.raises(TrainingFailedError):
        run(config, "stopped", Fault("on_before_backward", 3, no_memory))
    go_on(config, "stopped")
    assert_same(straight.folder, "stopped")


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


@pytest.mark.fault("T14", "the same steps in the same order")
def test_a_clock_that_goes_backwards(straight_run, monkeypatch):
    config, straight = checked(), straight_run()
    seconds = iter(range(2 * 10**9, 0, -1000))
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: float(next(seconds)))
        with pytest.raises(InterruptedRun):
            run(config, "a", Fault("on_train_batch_end", 3, terminate))
        go_on(config, "a")
    assert_same(straight.folder, "a")
    steps = [int(row["step"]) for row in rows("a")]
    assert steps == sorted(steps)


@pytest.mark.fault("T17", "bit-equal")
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_same_seed_gives_the_same_run(straight_run, workers):
    straight = straight_run()
    shutil.copytree("pictures", "elsewhere/other images")
    run(checked(f"data.num_workers={workers}", "data.train_dir='elsewhere/other images'"), "elsewhere/b")
    one, other = content(straight.folder), content("elsewhere/b")
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "SRDataModule", "exact_resume"):
        assert bit_identical(one[key], other[key]), key
    assert rows(straight.folder) == rows("elsewhere/b")


SET_UPS = {
    "clipping": ["trainer.gradient_clip_val=0.001"],
    "average": AVERAGE,
    "perceptual": ["loss.beta=0.1"],
}


@pytest.mark.fault("T18", "bit-equal, and no network is asked for")
@pytest.mark.parametrize("kind", SET_UPS)
def test_what_a_step_needs_besides(straight_run, monkeypatch, kind):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked for"))
    more = [*SET_UPS[kind], "trainer.max_steps=4"]
    config, straight = checked(*more), straight_run(*more)
    with pytest.raises(Killed):
        run(config, "a", Fault("on_before_optimizer_step", 3, kill))
    go_on(config, "a")
    assert_same(straight.folder, "a")
    assert Path("a/results.json").is_file()
