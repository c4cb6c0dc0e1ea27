"""Profile of some training steps: the costliest kernels, and the share of time in which the GPU is idle."""

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
    """A kernel, or on the CPU an operation including nested ones."""

    name: str
    share: float
    """Share of the total time of all kernels."""
    calls: int


@dataclass(frozen=True)
class Profile:
    """Breakdown of some steps."""

    milliseconds: float
    """Duration per step, from the very first kernel to the last."""
    idle: float
    """Share of that time in which nothing runs on the device."""
    kernels: float
    """Number of kernels launched per step."""
    costliest: list[Kernel]


def busy(spans: Iterable[tuple[float, float]]) -> float:
    """Returns the total length of the union of intervals (start, end)."""
    total, last = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, last))
        last = max(last, end)
    return total


def summarised(events: Iterable[dict[str, Any]], kinds: tuple[str, ...], steps: int) -> Profile:
    """Summarises events of a Chrome trace, whose times are in microseconds.

    Raises:
        ValueError: There are no events of these kinds.
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
    """Profiles training steps; on a GPU only the kernels, which costs the host little.

    Args:
        first: Number of steps before profiling starts.
        steps: Number of steps to profile.
        device: `cuda` or `cpu`.
    """

    def __init__(self, *, first: int, steps: int, device: str) -> None:
        # Read when the profiler is first used; without it, the profiler prints complaints if there is no GPU.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        self.first, self.steps, self.is_gpu = first, steps, device == "cuda"
        activity = ProfilerActivity.CUDA if self.is_gpu else ProfilerActivity.CPU
        self.profiler = torch.profiler.profile(activities=[activity])

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Starts and stops the profiler, once the device has finished its work."""
        if trainer.global_step not in (self.first, self.first + self.steps):
            return
        if self.is_gpu:
            torch.cuda.synchronize()
        if trainer.global_step == self.first:
            self.profiler.start()
        else:
            self.profiler.stop()

    def read(self) -> Profile:
        """Returns the profile."""
        with tempfile.TemporaryDirectory() as folder:
            trace = Path(folder, "trace.json")
            self.profiler.export_chrome_trace(str(trace))
            events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
        return summarised(events, _OF_GPU if self.is_gpu else _OF_CPU, self.steps)
