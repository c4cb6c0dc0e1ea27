"""Short training runs that are killed, stopped or disturbed at a chosen step and hook, and their continuation."""

import copy
import csv
import functools
import os
import signal
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from omegaconf import DictConfig
from torch import nn

import sr_lightning.train as command
from helpers.equality import bit_identical
from sr_lightning.builders import training
from sr_lightning.checkpoints.integrity import find_resumable
from sr_lightning.config.compose import compose_jobs
from sr_lightning.config.train import check_train
from sr_lightning.runs.resume import Resume, accept_differences, prepare
from sr_lightning.runs.run import Run


class Net(nn.Module):
    """Draws random numbers in training."""

    def __init__(self, scale, p=0.3):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.Dropout2d(p),
            nn.Conv2d(8, 3 * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
        )

    def forward(self, x):
        return self.body(x)


class Killed(BaseException):
    """Nothing may react to it, as nothing can to SIGKILL."""


class Fault(Callback):
    """Does something once, at a step, at a hook."""

    def __init__(self, hook, step, act):
        def hooked(trainer, module, *arguments):
            if trainer.global_step == step and not self.done and trainer.state.fn == "fit":
                self.done = True
                act(trainer, module)

        self.done = False
        setattr(self, hook, hooked)


def kill(trainer, module):
    raise Killed


def terminate(trainer, module):
    os.kill(os.getpid(), signal.SIGTERM)


def no_memory(trainer, module):
    raise MemoryError


CONF = ("--config-dir", "conf")
# A saved config may come from somebody else, so that a class that is not ours is typed again.
MINE = "model._target_=helpers.faulty_runs.Net"
FORKS = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12, where there are threads


# All paths are relative, so that the config is the same in each test's folder.
SETTINGS = (
    "paths.cache=cache",
    "data=folder",
    "data.train_dir=pictures",
    "data.val_holdout=2",
    "data.batch_size=4",
    "data.patch_size=8",
    "scale=2",
    "model=dropping",
    "optimizer.lr=1e-2",
    "trainer=cpu",
    "trainer.precision=32",
    "trainer.max_steps=7",
    "trainer.val_check_interval=2",
    "trainer.log_every_n_steps=1",
    "logger=csv",
    "callbacks.pictures=null",
    "callbacks.progress=null",
)


def checked(*more):
    return copy.deepcopy(_checked(more))


@functools.cache
def _checked(more):
    (job,) = compose_jobs("train", [*SETTINGS, *more], config_dir="conf", config_name=None, is_sweep=False)
    return check_train(job.config)


def kept_in(folder, allowed=(), config=None):
    """The run in a folder, as `ckpt_path=<folder>` finds it; None where it has no checkpoint."""
    kept = find_resumable(Path(folder, "checkpoints"))
    if kept.newest is None:
        return None
    resume = Resume(Path(folder), kept.newest, DictConfig({}), [], kept.trailer, kept.damaged, tuple(allowed))
    return Resume(**vars(resume) | {"differing": accept_differences(resume, config)}) if config else resume


def run(config, folder, *faults, resume=None):
    """One call of the command's function, with faults."""
    Path(folder).mkdir(exist_ok=True)
    real = training.build_callbacks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "build_callbacks", lambda *args, **more: [*real(*args, **more), *faults])
        return command.train(config, Run(Path(folder), "test", resume=resume))


def go_on(config, folder, *faults, allowed=()):
    resume = kept_in(folder, allowed, config)
    prepare(Path(folder), resume)
    return run(config, folder, *faults, resume=resume)


def content(folder, name="last"):
    return torch.load(Path(folder, "checkpoints", f"{name}.ckpt"), map_location="cpu", weights_only=True)


def rows(folder):
    with Path(folder, "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if not k.startswith("time/") and v} for row in csv.DictReader(file)]


STATE = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "SRDataModule")


STATE += ("exact_resume", "sr_lightning")


def assert_same(one, other):
    """Weights, average, moments, schedule, random state, samples, best, and all that was logged."""
    for name in ("last", "best"):
        a, b = content(one, name), content(other, name)
        for key in (
            *("state_dict", "optimizer_states", "lr_schedulers", "SRDataModule", "exact_resume", "sr_lightning"),
        ):
            assert bit_identical(a[key], b[key]), (name, key)
        for key in ("current_model_state", "averaging_state"):
            assert bit_identical(a.get(key), b.get(key)), (name, key)
        (best_a,), (best_b,) = (
            [v["best_model_score"] for k, v in c["callbacks"].items() if k.startswith("Checkpoints")] for c in (a, b)
        )
        assert torch.equal(best_a, best_b), name
    assert rows(one) == rows(other)


AVERAGE = ["callbacks=ema", "callbacks.ema.decay=0.5", "callbacks.pictures=null", "callbacks.progress=null"]


class Spoiling(Callback):
    """Comes between the backward pass and the guard."""

    def __init__(self, act, step):
        self.act, self.step = act, step

    def on_after_backward(self, trainer, module):
        if trainer.global_step == self.step:
            self.act(trainer, module)
