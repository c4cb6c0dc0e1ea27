"""Profile of some steps of a training: the kernels that cost most, and how long the GPU does nothing."""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.profiler import ProfilerActivity

SHOWN = 10
_OF_GPU = ("kernel", "gpu_memcpy", "gpu_memset")
_OF_CPU = ("cpu_op",)


@dataclass(frozen=True)
class Kernel:
    """A kernel, or on the CPU an operation with those within it."""

    name: str
    share: float
    """Of the time of all."""
    calls: int


@dataclass(frozen=True)
class Profile:
    """What some steps consist of."""

    milliseconds: float
    """Of a step, from the first kernel of all to the last."""
    idle: float
    """Share of that in which nothing runs on the device."""
    kernels: float
    """That a step starts."""
    costliest: list[Kernel]


def busy(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals (start, end)."""
    total, last = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, last))
        last = max(last, end)
    return total


def summarised(events: Iterable[dict[str, Any]], kinds: tuple[str, ...], steps: int) -> Profile:
    """The profile of events of a Chrome trace, whose times are microseconds.

    Raises:
        ValueError: There are none of these kinds.
    """
    chosen = [e for e in events if e.get("cat") in kinds and "dur" in e]
    if not chosen:
        raise ValueError(f"the profiler has seen no {kinds[0]}")
    spans = [(e["ts"], e["ts"] + e["dur"]) for e in chosen]
    length = max(end for _, end in spans) - min(start for start, _ in spans)
    times: dict[str, list[float]] = defaultdict(list)
    for event in chosen:
        times[event["name"]].append(event["dur"])
    total = sum(map(sum, times.values()))
    ranked = sorted(times.items(), key=lambda item: -sum(item[1]))[:SHOWN]
    costliest = [Kernel(name, sum(of) / total if total else 0.0, len(of)) for name, of in ranked]
    idle = 1 - busy(spans) / length if length else 0.0
    return Profile(length / 1000 / steps, idle, len(chosen) / steps, costliest)


class Profiled(pl.Callback):
    """Profiles steps of a training; on a GPU its kernels alone, which costs the host little.

    Args:
        first: Steps before.
        steps: That are looked at.
        device: `cuda` or `cpu`.
    """

    def __init__(self, *, first: int, steps: int, device: str) -> None:
        # Read when the profiler is first used; it would complain on the terminal where there is no GPU.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        self.first, self.steps, self.is_gpu = first, steps, device == "cuda"
        activity = ProfilerActivity.CUDA if self.is_gpu else ProfilerActivity.CPU
        self.profiler = torch.profiler.profile(activities=[activity])

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Starts and stops, when the device has done what it was told."""
        if trainer.global_step not in (self.first, self.first + self.steps):
            return
        if self.is_gpu:
            torch.cuda.synchronize()
        if trainer.global_step == self.first:
            self.profiler.start()
        else:
            self.profiler.stop()

    def read(self) -> Profile:
        """What has been seen."""
        with tempfile.TemporaryDirectory() as folder:
            trace = Path(folder, "trace.json")
            self.profiler.export_chrome_trace(str(trace))
            events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
        return summarised(events, _OF_GPU if self.is_gpu else _OF_CPU, self.steps)
