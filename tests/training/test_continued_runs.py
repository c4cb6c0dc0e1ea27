"""Runs that stop and go on, or start from another's weights, through the command."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from helpers.equality import bit_identical
from helpers.training_runs import metrics, only_run, weights
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


@pytest.mark.fault("T2", "bit-equal, the same folder")
def test_continued_is_as_if_never_stopped(tiny):
    settings = [*tiny, "trainer.max_steps=6", "scheduler=multistep", "optimizer.lr=1e-3"]
    assert main([*settings, "paths.runs=straight"]) == 0
    straight = next(Path("straight/train").iterdir())

    class Stop(Exception):
        pass

    from sr_lightning.callbacks import Checkpoints

    real = Checkpoints.on_validation_end

    def killed(self, trainer, module):
        real(self, trainer, module)
        if trainer.global_step == 4:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "on_validation_end", killed)
        assert main(settings) == 1
    stopped = only_run()
    assert not (stopped / "results.json").exists()
    assert main(["ckpt_path=last"]) == 0
    assert only_run() == stopped
    assert bit_identical(weights(stopped), weights(straight))
    assert bit_identical(weights(stopped, "best"), weights(straight, "best"))
    columns = ("step", "train/loss", "val/psnr_y", "lr")
    rows = [[[row[c] for c in columns] for row in metrics(run)] for run in (straight, stopped)]
    assert rows[0] == rows[1]
    results = [json.loads((run / "results.json").read_text())["rows"] for run in (straight, stopped)]
    assert [r["psnr_y"] for r in results[0]] == [r["psnr_y"] for r in results[1]]


def test_a_finished_run_is_tested_again_or_goes_on_with_more_steps(tiny, capsys):
    assert main(tiny) == 0
    run = only_run()
    for said in (
        "is finished, at step 4 of 4: only its test is repeated;",
        "is trained, but not tested, at step 4 of 4:",
    ):
        capsys.readouterr()
        assert main([f"ckpt_path={run}"]) == 0
        out = capsys.readouterr().out
        assert f"{run} {said}" in out
        assert "trainer.max_steps=8, for instance, trains on" in out
        assert "continuing" not in out
        (run / "results.json").unlink()
    assert main([f"ckpt_path={run}", "trainer.max_steps=8"]) == 0
    assert only_run() == run
    assert [int(row["step"]) for row in metrics(run) if row["train/loss"]] == list(range(1, 9))
    assert json.loads((run / "results.json").read_text())["steps"] == 8


@pytest.mark.fault("T4", "saved at the step, status 143, bit-equal after")
def test_a_signal_saves_the_step_and_is_the_exit_status(tiny, capsys):
    """The other signals: faults/test_stops.py."""
    from sr_lightning.callbacks import Throughput

    real = Throughput.on_train_batch_end

    def signalled(self, trainer, module, outputs, batch, batch_idx):
        real(self, trainer, module, outputs, batch, batch_idx)
        if trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Throughput, "on_train_batch_end", signalled)
        assert main(tiny) == 143
    assert signal.getsignal(signal.SIGTERM) == before
    run = only_run()
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 3
    assert f"ckpt_path={run}" in capsys.readouterr().out
    assert main([f"ckpt_path={run}"]) == 0
    assert (run / "results.json").exists()
    assert main([*tiny, "paths.runs=straight"]) == 0
    assert bit_identical(weights(run), weights(next(Path("straight/train").iterdir())))


@pytest.mark.fault("T7", "status 1, checkpoints finite")
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_finite_checkpoint(tiny, capsys):
    assert (
        main([*tiny, "optimizer=sgd", "optimizer.lr=1e12", "trainer.max_steps=50", "trainer.val_check_interval=50"])
        == 1
    )
    err = capsys.readouterr().err
    assert "the loss is not finite at step" in err
    assert "pixel" in err
    assert "Traceback" not in err
    for path in (only_run() / "checkpoints").glob("*.ckpt"):
        state = torch.load(path, weights_only=True)["state_dict"]
        assert all(torch.isfinite(value).all() for value in state.values())


def test_warm_start(tiny, capsys):
    assert main(tiny) == 0
    again = [
        *tiny,
        f"model.weights={only_run()}",
        "optimizer.lr=1e-12",
        "trainer.max_steps=1",
        "trainer.val_check_interval=1",
    ]
    assert main([*again, "paths.runs=other"]) == 0
    other = next(Path("other/train").iterdir())
    for key, value in weights(only_run(), "best").items():
        torch.testing.assert_close(weights(other)[key], value, atol=1e-6, rtol=0)
    assert main([*again, "model.n_feats=5"]) == 2
    assert "does not fit EDSR" in capsys.readouterr().err
