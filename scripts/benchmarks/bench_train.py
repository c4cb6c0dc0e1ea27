"""Overhead of the framework and benefit of its settings: our training steps, interleaved with plain loops.

    python scripts/benchmarks/bench_train.py
    python scripts/benchmarks/bench_train.py price --out train.json
    python scripts/benchmarks/bench_train.py waiting --networks all     # all of conf/model; minutes

"Ours" is what `python -m sr_lightning.train logger=csv` runs: the Trainer with its module, callbacks, log and progress
bar (on an invisible terminal). It is timed between two steps; validation and saving are excluded.

    price     ours compared with a bare PyTorch loop of the same network, batches, precision, optimizer and schedule;
              with float32 in NCHW, default Adam and the same batches; with the same but a file decoded for each patch
              and the loss read at every step; and with BasicSR's SRModel if `basicsr` is importable
    growth    step time and memory of ours as a function of batch and patch size
    waiting   share of time spent waiting for data, as logged by the run
    compile   with --compile: torch.compile compared with eager mode, the first step reported separately
    malloc    keeping freed buffers compared with glibc's thresholds: time, memory and page faults on the CPU
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import itertools
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import benchmarking
import lightning.pytorch as pl
import torch
from hydra import compose, initialize_config_dir
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

from sr_lightning.builders.components import build, factory
from sr_lightning.builders.network import build_network
from sr_lightning.builders.training import (
    build_callbacks,
    build_module,
    build_optimizer,
    build_trainer,
    resolve_precision,
)
from sr_lightning.callbacks import Progress
from sr_lightning.config.conf_files import conf_dir, register_resolvers
from sr_lightning.config.schema import TrainConfig
from sr_lightning.config.train import check_train
from sr_lightning.data.batch import TrainBatch
from sr_lightning.loggers.metrics_csv import MetricsCsv
from sr_lightning.models.base import network_traits
from sr_lightning.runs.environment import quiet
from sr_lightning.runs.run import Run

SECTIONS = ("price", "growth", "waiting", "compile", "malloc")
WARM = 3
"""Warm-up steps that are not timed."""


@dataclass
class Timed:
    """Measurements over a number of steps."""

    wall: float
    """Wall-clock milliseconds per step."""
    processor: float
    """Milliseconds of processor time per step, which excludes other load on the machine."""
    loss: float
    """Loss of the last step."""
    waiting: float = 0.0
    """Share of time spent waiting for data."""
    first: float = 0.0
    """Seconds until the end of the first step."""


class Clock:
    """Takes the time after `WARM` steps and after the last step."""

    def __init__(self, steps: int, device: torch.device) -> None:
        self.last = WARM + steps
        self.steps = steps
        self.device = device
        self.moments: list[tuple[float, float]] = []
        self.started = time.perf_counter()
        self.first = 0.0

    def tick(self, step: int) -> None:
        """Called after each step, counted from 1."""
        if step == 1:
            self.first = time.perf_counter() - self.started
        if step in (WARM, self.last):
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.moments.append((time.perf_counter(), benchmarking.cpu_seconds()))

    def read(self, loss: float, waiting: float = 0.0) -> Timed:
        """Returns the measurements of the steps in between."""
        (wall, spent), (wall_end, spent_end) = self.moments
        per_step = 1000 / self.steps
        return Timed((wall_end - wall) * per_step, (spent_end - spent) * per_step, loss, waiting, self.first)


class ClockCallback(pl.Callback):
    """Callback that runs a `Clock` in a Trainer."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.loss: Tensor | None = None

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        """Stores the loss and ticks the clock."""
        self.loss = outputs["loss"]
        self.clock.tick(trainer.global_step)


@dataclass(frozen=True)
class Work:
    """A training run to time."""

    config: TrainConfig
    steps: int
    folder: Path

    @property
    def device(self) -> torch.device:
        """Device on which it runs."""
        wants = self.config.trainer["accelerator"] in ("auto", "gpu", "cuda")
        return torch.device("cuda" if torch.cuda.is_available() and wants else "cpu")

    def data(self) -> Any:
        """Returns its data module."""
        data = build(self.config.data, "data")
        data.setup("fit")
        return data

    def net(self) -> nn.Module:
        """Returns its network, initialised identically on each call."""
        torch.manual_seed(self.config.seed)
        return build_network(self.config.model)


def composed(*overrides: str, steps: int) -> TrainConfig:
    """Composes the config of these overrides, which validates and logs like a long run."""
    given = ["logger=csv", "trainer.limit_val_batches=0", f"trainer.max_steps={WARM + steps}", *overrides]
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return check_train(compose("train", given))


# -- contenders ----------------------------------------------------------------------------------------


def ours(work: Work, *, more: Sequence[pl.Callback] = ()) -> Timed:
    """Times the Trainer with everything a run has, plus any further callbacks."""
    config = work.config
    with tempfile.TemporaryDirectory(dir=work.folder) as name:
        folder = Path(name)
        net = work.net()
        clock = ClockCallback(Clock(work.steps, work.device))
        if config.compile:
            net.compile()
        module, run = build_module(config, net), Run(folder=folder, command="")
        callbacks = [*build_callbacks(config, run, csv=MetricsCsv(folder), started=time.perf_counter()), clock, *more]
        for callback in callbacks:
            if isinstance(callback, Progress):  # the bar is only drawn on a terminal
                callback._console = Console(file=io.StringIO(), force_terminal=True, width=80)
        trainer = build_trainer(config, folder, callbacks=callbacks, loggers=[MetricsCsv(folder)])
        trainer.fit(module, datamodule=work.data())
        waiting = trainer.logged_metrics.get("time/data_wait", torch.tensor(0.0))
        assert clock.loss is not None
        return clock.clock.read(float(clock.loss), float(waiting))


def bare(work: Work, *, plain: bool = False, batches: Iterator[TrainBatch] | None = None) -> Timed:
    """Times a minimal training loop.

    Args:
        work: Run with the same network, batches, precision, optimizer and schedule.
        plain: Whether to use float32, NCHW and default Adam.
        batches: Other batches to use; if given, the loss is read at every step.
    """
    config, device = work.config, work.device
    net = work.net().to(device)
    channels, precision = network_traits(net).channels, resolve_precision(config.trainer["precision"], "auto")
    layout = torch.contiguous_format if plain else torch.channels_last
    net = net.to(memory_format=layout)
    section = {**config.optimizer, "fused": None} if plain else config.optimizer
    optimizer = build_optimizer(section, "optimizer")(net.parameters())
    schedule = factory(config.scheduler, "scheduler")(optimizer, config.trainer["max_steps"])
    clock, reads = Clock(work.steps, device), batches is not None
    loss = torch.tensor(0.0)
    for step, batch in enumerate(itertools.islice(batches or same_batches(work), clock.last), 1):
        lr, hr = batch.lr, batch.hr
        if channels == 1:
            weights = torch.tensor([65.481, 128.553, 24.966], device=device).view(3, 1, 1) / 255
            lr, hr = ((x * weights).sum(1, keepdim=True) + 16 / 255 for x in (lr, hr))
        lr = lr.contiguous(memory_format=layout)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed" and not plain):
            sr = net(lr)
        loss = F.l1_loss(sr.float(), hr)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if reads:
            loss.item()
        clock.tick(step)
    return clock.read(float(loss))


def same_batches(work: Work) -> Iterator[TrainBatch]:
    """Yields the batches that our Trainer would receive, without a Trainer."""
    data = work.data()
    data.trainer = _Alone(work.device)
    for windows in data.train_dataloader():
        yield data.on_after_batch_transfer(data.transfer_batch_to_device(windows, work.device, 0), 0)


class _Alone:
    """Stand-in for the parts of a Trainer that the data module uses."""

    accumulate_grad_batches, global_rank, world_size = 1, 0, 1

    def __init__(self, device: torch.device) -> None:
        self.strategy = SimpleNamespace(root_device=device)


def decoded_batches(work: Work) -> Iterator[TrainBatch]:
    """Yields batches with a file decoded per patch by two workers, and LR generated from each window on the device."""
    from bench_data import DEGRADE, Files, decoded, decoders

    from sr_lightning.data.degradations.base import to_train_batch

    images = work.data().train_images.hr
    settings = work.config.data
    files = Files(images.paths, work.folder, patch=settings["patch_size"], batch=settings["batch_size"])
    decode = list(decoders().values())[-1]
    for windows in decoded(files, images.sizes, decode, 2):
        windows = windows._replace(hr=windows.hr.to(work.device, non_blocking=True))
        yield to_train_batch(windows, DEGRADE)


def basicsr(work: Work) -> Timed:
    """Times BasicSR's SRModel on `decoded_batches`, as in its training loop: float32, NCHW, loss read at every step."""
    model_of = benchmarking.optional("basicsr.models.sr_model")
    assert model_of is not None
    section, patch = work.config.model, {"num_in_ch": 3, "num_out_ch": 3, "upscale": 4}
    options = {
        "num_gpu": int(work.device.type == "cuda"),
        "dist": False,
        "is_train": True,
        "path": {},
        "network_g": {"type": "EDSR", "num_feat": section["n_feats"], "num_block": section["n_resblocks"], **patch},
        "train": {
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
            "optim_g": {"type": "Adam", "lr": work.config.optimizer["lr"]},
            "scheduler": {"type": "MultiStepLR", "milestones": [10**9], "gamma": 0.5},
        },
    }
    torch.manual_seed(work.config.seed)
    with contextlib.redirect_stdout(io.StringIO()):
        model = model_of.SRModel(options)
    clock, found = Clock(work.steps, work.device), {"l_pix": 0.0}
    for step, batch in enumerate(itertools.islice(decoded_batches(work), clock.last), 1):
        model.update_learning_rate(step, warmup_iter=-1)
        model.feed_data({"lq": batch.lr, "gt": batch.hr})
        model.optimize_parameters(step)
        found = model.get_current_log()
        clock.tick(step)
    return clock.read(found["l_pix"])


# -- sections ------------------------------------------------------------------------------------------


def price(report: benchmarking.Report, given: argparse.Namespace, folder: Path) -> None:
    """Compares contenders on short and long steps."""
    names = {"edsr_tiny": 150, "edsr_small_y": 60, "edsr_baseline": 12}
    if given.quick:
        names = {"edsr_tiny": 40}
    for name, steps in names.items():
        work = Work(composed(f"model={name}", *given.set, steps=given.steps or steps), given.steps or steps, folder)
        few = replace(work, steps=max(work.steps // 5, 2))  # for loops that wait for files
        contenders: dict[str, Callable[[], Timed]] = {
            "ours": partial(ours, work),
            "bare loop": partial(bare, work),
            "float32 NCHW": partial(bare, work, plain=True),
            # mypy cannot infer the type of a lambda with a default.
            "… decoding": lambda few=few: bare(few, plain=True, batches=decoded_batches(few)),  # type: ignore[misc]  # a default
        }
        if name == "edsr_baseline" and benchmarking.optional("basicsr.models.sr_model"):
            contenders["BasicSR"] = partial(basicsr, few)
        _add_price(report, name, benchmarking.take_turns(contenders, given.rounds))
    if not benchmarking.optional("basicsr.models.sr_model"):
        report.note("BasicSR's SRModel: not installed.")


def _add_price(report: benchmarking.Report, name: str, found: dict[str, list[Timed]]) -> None:
    for unit, figure in (("ms/step", "wall"), ("ms/step, processor", "processor")):
        rows = [
            benchmarking.Row(f"{name}, {figure}", method, unit, [getattr(one, figure) for one in values], False)
            for method, values in found.items()
        ]
        report.add("price", rows)
        least = [min(row.values) for row in rows[:2]]
        price = least[0] - least[1]
        report.note(f"Price, {name}, {figure}: {price:+.2f} ms a step, {100 * price / least[1]:+.1f} %, least of each.")
    last = {method: values[-1].loss for method, values in found.items()}
    report.note(f"Last loss, {name}: {', '.join(f'{method} {loss:.5f}' for method, loss in last.items())}.")


def growth(report: benchmarking.Report, given: argparse.Namespace, folder: Path) -> None:
    """Measures step time and memory as a function of batch and patch size."""
    steps = given.steps or (4 if given.quick else 15)
    sizes = [(4, 32), (16, 32), (64, 32), (16, 16), (16, 48)]
    for batch, patch in sizes[: 2 if given.quick else None]:
        overrides = (f"data.batch_size={batch}", f"data.patch_size={patch}", *given.set)
        work = Work(composed("model=edsr_tiny", *overrides, steps=steps), steps, folder)
        figures = [with_memory(partial(ours, work), work.device) for _ in range(given.rounds)]
        case = f"edsr_tiny, batch {batch}, patch {patch}"
        rows = [
            benchmarking.Row(case, "ours", "ms/step", [timed.wall for timed, _ in figures], False),
            benchmarking.Row(case, "ours", "patches/s", [1000 * batch / timed.wall for timed, _ in figures]),
            benchmarking.Row(case, "ours", "MB at most", [memory for _, memory in figures], False),
        ]
        report.sections.setdefault("growth", []).extend(rows)


def with_memory(run: Callable[[], Timed], device: torch.device) -> tuple[Timed, float]:
    """Returns the timings and the additional peak memory in MB; NaN if the system does not report it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return run(), torch.cuda.max_memory_allocated(device) / 1e6
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _memory("VmRSS")
    except (OSError, AttributeError):
        return run(), float("nan")
    return run(), _memory("VmHWM") - before


def _memory(entry: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(entry))


def waiting(report: benchmarking.Report, given: argparse.Namespace, folder: Path) -> None:
    """Reports `time/data_wait`, without workers, as in the configs."""
    names: Iterable[str] = given.networks
    if given.networks == ["all"]:
        names = sorted(path.stem for path in Path(conf_dir(), "model").glob("*.yaml") if path.stem != "bicubic")
    for name in names:
        steps = given.steps or (6 if given.quick else 20)
        steps = steps if name in ("edsr_tiny", "edsr_tiny_y", "espcn", "fsrcnn", "srcnn") else max(steps // 5, 2)
        scale = "scale=4" if not name.startswith("mdsr") else "scale=[2,3,4]"
        overrides = (f"model={name}", scale, f"trainer.log_every_n_steps={WARM + steps}", *given.set)
        work = Work(composed(*overrides, steps=steps), steps, folder)
        found = [ours(work) for _ in range(1 if given.networks == ["all"] else given.rounds)]
        rows = [
            benchmarking.Row(name, "waiting", "% of time", [100 * one.waiting for one in found], False),
            benchmarking.Row(name, "step", "ms", [one.wall for one in found], False),
        ]
        report.sections.setdefault("waiting", []).extend(rows)


def compiled(report: benchmarking.Report, given: argparse.Namespace, folder: Path) -> None:
    """Compares compiled and eager mode with the default network."""
    steps = given.steps or (10 if given.quick else 60)
    runs: dict[str, Callable[[], Timed]] = {}
    for method, is_compiled in (("compiled", "true"), ("eager", "false")):
        work = Work(composed(f"compile={is_compiled}", *given.set, steps=steps), steps, folder)
        runs[method] = partial(ours, work)
    found = benchmarking.take_turns(runs, given.rounds)
    for case, figure, unit in (("steps", "wall", "ms/step"), ("until the first step", "first", "s")):
        values = {method: [getattr(one, figure) for one in of] for method, of in found.items()}
        report.add("compile", [benchmarking.Row(case, method, unit, of, False) for method, of in values.items()])


def malloc(report: benchmarking.Report, given: argparse.Namespace, folder: Path) -> None:
    """Compares allocator settings, in separate processes."""
    from allocator_cost import compare_allocators

    compare_allocators(report, given.rounds, quick=given.quick, threads=torch.get_num_threads())


def main(argv: Sequence[str] | None = None) -> int:
    parser = benchmarking.parser(__doc__, SECTIONS)
    parser.add_argument("--networks", nargs="+", default=["edsr_tiny", "edsr_small_y", "edsr_baseline"])
    parser.add_argument("--steps", type=int, default=None, help="that are timed, of each run")
    parser.add_argument("--set", nargs="+", default=[], metavar="key=value", help="overrides of every run")
    parser.add_argument("--compile", action="store_true", help="also the section compile; needs a C++ compiler")
    given = benchmarking.parsed(parser, SECTIONS, argv)
    if not given.compile:
        given.sections = [name for name in given.sections if name != "compile"]
    quiet()
    warnings.simplefilter("ignore")
    register_resolvers()
    report = benchmarking.Report()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SR_CACHE"] = str(Path(folder, "cache"))
        run = {"price": price, "growth": growth, "waiting": waiting, "compile": compiled, "malloc": malloc}
        for name in given.sections:
            run[name](report, given, Path(folder))
    benchmarking.finish(report, torch.device("cuda" if torch.cuda.is_available() else "cpu"), given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
