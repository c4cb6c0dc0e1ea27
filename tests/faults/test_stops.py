"""The moments at which a run ends: kills, signals and failures in a step, a save or a validation. Nothing is lost."""

import os
import signal
from pathlib import Path

import hydra.core.utils
import pytest
import torch
from lightning.pytorch import Callback

from helpers.faulty_runs import (
    AVERAGE,
    CONF,
    SETTINGS,
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
from sr_lightning.train import main
from sr_lightning.training import final_test

pytestmark = pytest.mark.usefixtures("_small_runs")


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


@pytest.mark.fault("T1", "the same objective")
def test_a_run_killed_before_its_test_keeps_its_objective(straight_run, monkeypatch):
    config, straight = checked(), straight_run()
    with monkeypatch.context() as patch:
        patch.setattr(final_test, "final_test", lambda *_, **__: kill(None, None))
        with pytest.raises(Killed):
            run(config, "stopped")
    assert go_on(config, "stopped") == straight.objective


@pytest.mark.fault("T8", "a sentence, status 1, the step before is saved")
def test_a_failure_saves_the_step_before():
    """Memory runs out in the sixth step, two steps after the last validation."""
    config = checked()
    with pytest.raises(TrainingFailedError, match=r"(?s)not enough memory.*\n  python -m .* ckpt_path=a"):
        run(config, "a", Fault("on_before_backward", 5, no_memory))
    assert content("a")["global_step"] == 5


@pytest.mark.fault("T2", "bit-equal, wherever it stopped")
@pytest.mark.parametrize("step", [1, 4, 7, *(pytest.param(step, marks=pytest.mark.slow) for step in (2, 3, 5, 6))])
def test_a_stop_after_every_step(straight_run, step):
    config, straight = checked(), straight_run()
    with pytest.raises((Killed, InterruptedRun)):
        run(config, "a", Fault("on_train_batch_end", step, kill if step % 2 else terminate))
    go_on(config, "a")
    assert_same(straight.folder, "a")


@pytest.mark.fault("T15", "one validation, the same best")
@pytest.mark.parametrize("hook", ["on_save_checkpoint", "on_validation_start", "on_validation_end"])
def test_a_kill_between_a_save_and_its_validation(straight_run, hook):
    config, straight = checked(), straight_run()
    with pytest.raises(Killed):
        run(config, "a", Fault(hook, 4, kill))
    go_on(config, "a")
    assert_same(straight.folder, "a")
    assert [int(row["step"]) for row in rows("a") if "val/psnr_y" in row] == [2, 4, 6, 7]


@pytest.mark.fault("T19", "each row once, as in a run that never stopped")
def test_a_pending_validation_that_is_killed_before_its_checkpoint(straight_run):
    """Its row was written twice: rows were cut by their step, and this one belongs to the step before the next."""
    config, straight = checked(), straight_run()
    with pytest.raises(InterruptedRun):
        run(config, "a", Fault("on_train_batch_end", 4, terminate))
    for _ in range(2):
        with pytest.raises(Killed):
            go_on(config, "a", Fault("on_validation_end", 4, kill))  # the checkpoint comes after it
        assert [int(row["step"]) for row in rows("a") if "val/psnr_y" in row] == [2, 4]
    go_on(config, "a")
    assert_same(straight.folder, "a")


@pytest.mark.fault("T19", "each row once, as in a run that never stopped")
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("hook", ["on_train_epoch_end", "on_train_end"])
def test_a_kill_right_after_a_signal_has_been_answered(straight_run, hook, every):
    """The step's row was still to be written; or one was that was not due, with the values of another step."""
    more = [] if every == 1 else [f"trainer.log_every_n_steps={every}"]
    config, straight = checked(*more), straight_run(*more)
    for step in (2, 3, 5):
        folder = f"{hook} {step}"
        with pytest.raises(Killed):
            run(config, folder, Fault("on_before_backward", step - 1, terminate), Fault(hook, step, kill))
        assert content(folder)["global_step"] == step
        go_on(config, folder)
        assert_same(straight.folder, folder)


@pytest.mark.fault("T20", "not begun: told by ckpt_path, begun by the same command")
@pytest.mark.parametrize(
    ("file", "share"), [("config.yaml", 0), ("config.yaml", 0.5), ("config.yaml", 1), ("overrides.yaml", 0.5)]
)
def test_a_kill_while_hydra_writes_its_files(monkeypatch, capsys, file, share):
    real = hydra.core.utils._save_config

    def save(config, filename, output_dir):
        real(config, filename, output_dir)
        if filename == file:
            path = Path(output_dir, filename)
            os.truncate(path, int(share * path.stat().st_size))
            raise Killed

    command = [*CONF, *SETTINGS, "trainer.max_steps=1", "trainer.val_check_interval=1", "hydra.run.dir=a"]
    with monkeypatch.context() as patch:
        patch.setattr(hydra.core.utils, "_save_config", save)
        with pytest.raises(Killed):
            main(command)
    if file == "config.yaml":
        assert main(["ckpt_path=a", *CONF]) == 2
        assert "ended before it began" in capsys.readouterr().err
    assert main(command) == 0
    assert content("a")["global_step"] == 1


class AtBatch(Callback):
    """Does something before a batch, of which two make a step here."""

    def __init__(self, batch, act):
        self.batch, self.act = batch, act

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx == self.batch:
            self.act()


@pytest.mark.fault("T16", "bit-equal: there is no state within a step")
def test_a_kill_within_accumulated_batches(straight_run):
    def act():
        raise Killed

    config = checked("trainer.accumulate_grad_batches=2")
    straight = straight_run("trainer.accumulate_grad_batches=2")
    with pytest.raises(Killed):
        run(config, "a", AtBatch(7, act))
    go_on(config, "a")
    assert_same(straight.folder, "a")


@pytest.mark.fault("T4", "the step is finished and saved; status 128 and the signal's number")
@pytest.mark.fault("T16", "the step is finished and saved")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_within_accumulated_batches(straight_run, number):
    config = checked("trainer.accumulate_grad_batches=2")
    straight = straight_run("trainer.accumulate_grad_batches=2")
    with pytest.raises(InterruptedRun) as caught:
        run(config, "a", AtBatch(6, lambda: os.kill(os.getpid(), number)))
    assert caught.value.exit_status == 128 + number
    assert content("a")["global_step"] == 4
    go_on(config, "a")
    assert_same(straight.folder, "a")


@pytest.mark.fault("T4", "the second one leaves at once, with status 130")
def test_a_second_interrupt_does_not_wait(straight_run, monkeypatch):
    class Left(BaseException):
        """In place of the process's end."""

    def leave(status):
        raise Left(status)

    def twice(trainer, module):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    config, straight = checked(), straight_run()
    with monkeypatch.context() as patch:
        patch.setattr(os, "_exit", leave)
        with pytest.raises(Left, match="130"):
            run(config, "a", Fault("on_before_backward", 3, twice))
    assert content("a")["global_step"] == 2  # that of the validation: nothing was waited for
    go_on(config, "a")
    assert_same(straight.folder, "a")


NO_MEMORY = {
    "machine": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    "gpu": lambda: torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
}


@pytest.mark.fault("T8", "a sentence, status 1, the step before is saved; bit-equal after")
@pytest.mark.parametrize("kind", NO_MEMORY)
def test_memory_that_runs_out(straight_run, kind):
    def act(trainer, module):
        raise NO_MEMORY[kind]()

    config, straight = checked(), straight_run()
    with pytest.raises(TrainingFailedError, match=r"not enough memory.*smaller data\.patch_size"):
        run(config, "a", Fault("on_before_backward", 3, act))
    assert content("a")["global_step"] == 3
    go_on(config, "a")
    assert_same(straight.folder, "a")
