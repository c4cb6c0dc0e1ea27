"""Time-limited part of a training run that needs a GPU; called by `gpu_programme.py --train`."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = "experiment=gpu/edsr_medium_y_t291_x4"
_SMALL = (
    *("data=sample", "model=edsr_tiny_y", "data.shrink=[]", "data.batch_size=4", "data.patch_size=16", "trainer=cpu"),
    *("trainer.max_steps=100000", "trainer.val_check_interval=50", "data.val_crop=96", "trainer.log_every_n_steps=10"),
)
_TO_SAVE = 20.0  # seconds that a run gets to finish its step and save
_TO_GIVE_UP = 60.0


def command(folder: Path, *, is_small: bool, overrides: Sequence[str]) -> list[str]:
    """Returns the command line that starts or resumes the run in a folder."""
    call = [sys.executable, "-m", "sr_lightning.train"]
    if (folder / ".hydra").is_dir():
        return [*call, f"ckpt_path={folder}"]
    return [*call, EXPERIMENT, "logger=csv", *(_SMALL if is_small else ()), f"hydra.run.dir={folder}", *overrides]


def train_until(folder: Path, *, minutes: float, is_small: bool, overrides: Sequence[str]) -> int:
    """Trains until time is up, then stops the run with SIGTERM as a scheduler would, so that it saves its state.

    Args:
        folder: The run folder.
        minutes: Time until this returns, plus any time for saving beyond 20 seconds.
        is_small: Whether to use a smaller network and bundled photographs, for the CPU.
        overrides: Overrides used when the run is started.

    Returns:
        0 if the run was stopped with its state saved, or is finished; 1 if there was no time for a step; the run's exit
        status if it failed.
    """
    if (folder / "results.json").is_file():
        print(f"the run is finished: {folder / 'results.json'}")
        return 0
    deadline = time.monotonic() + max(60 * minutes - _TO_SAVE, 1)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    process = subprocess.Popen(command(folder, is_small=is_small, overrides=overrides), env=environment)
    is_stopped = False
    try:
        process.wait(deadline - time.monotonic())
    except subprocess.TimeoutExpired:
        is_stopped = True
    finally:
        status = _stop(process)
    print(_last_validation(folder))
    if is_stopped and status == 128 + signal.SIGTERM:
        print("stopped in time, and saved; the same command continues it")
        return 0
    if is_stopped and status == -signal.SIGTERM:
        print("stopped before its first step; the same command begins it again, with more minutes")
        return 1
    return status if status >= 0 else 128 - status


def _stop(process: subprocess.Popen[bytes]) -> int:
    """Stops the run and returns its exit status, once it has saved."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(_TO_GIVE_UP)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _last_validation(folder: Path) -> str:
    """Describes step and PSNR of the last validation in metrics.csv."""
    try:
        with (folder / "metrics.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row.get("val/psnr_y")]
    except OSError:
        rows = []
    if not rows:
        return "nothing has been validated yet"
    return f"last validation: step {rows[-1]['step']}, {float(rows[-1]['val/psnr_y']):.2f} dB"
