"""Benefits and costs of keeping freed buffers on the CPU: section `malloc` of `bench_train.py`.

The setting applies to a process from its first large buffer on, so each contender runs in a process of its own. This
file is also that process: `allocator_cost.py step edsr_baseline 6` prints its measurements as one line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import benchmarking

from sr_lightning.runs.allocator import VARIABLE, keep_large_buffers

WORK = {
    "a step of edsr_baseline": ("step", "edsr_baseline", "6"),
    "1024x1024 x4 at once, tiny": ("image", "edsr_tiny_y_x4", "3"),
    "1024x1024 x4 at once, small": ("image", "edsr_small_y_x4", "3"),
}
"""Workloads: a training step with batch size 16 and 48x48 LR patches, or a whole image passed through a network."""
UNITS = {"seconds": "s", "processor": "s, processor", "memory": "MB at most", "faults": "thousand page faults"}


def compare_allocators(report: benchmarking.Report, rounds: int, *, quick: bool, threads: int) -> None:
    """Adds rows for keeping freed buffers (ours) and for glibc's thresholds."""
    for case, arguments in list(WORK.items())[1 if quick else 0 :]:
        contenders: dict[str, Callable[[], dict[str, float]]] = {
            "kept": partial(_in_a_process, arguments, threads, default=False),
            "glibc's default": partial(_in_a_process, arguments, threads, default=True),
        }
        found = benchmarking.take_turns(contenders, rounds)
        for figure, unit in UNITS.items():
            values = {method: [one[figure] for one in several] for method, several in found.items()}
            report.add("malloc", [benchmarking.Row(case, method, unit, of, False) for method, of in values.items()])


def _in_a_process(arguments: tuple[str, ...], threads: int, *, default: bool) -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environment |= {"OMP_NUM_THREADS": str(threads)} | ({VARIABLE: "default"} if default else {})
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=600)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


# -- the measured process ------------------------------------------------------------------------------


def step(network: str, count: int) -> tuple[float, float]:
    """Returns wall-clock and processor seconds per Trainer step."""
    import warnings

    from bench_train import Work, composed, ours

    from sr_lightning.config.conf_files import register_resolvers
    from sr_lightning.runs.environment import quiet

    quiet()
    warnings.simplefilter("ignore")
    register_resolvers()
    overrides = (f"model={network}", "trainer=cpu", "data.batch_size=16", "data.patch_size=48")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("SR_CACHE", str(Path(folder, "cache")))
        timed = ours(Work(composed(*overrides, steps=count), count, Path(folder)))
    return timed.wall / 1000, timed.processor / 1000


def image(network: str, count: int) -> tuple[float, float]:
    """Returns the minimum wall-clock and processor seconds for a whole 1024x1024 image at x4."""
    import torch

    from sr_lightning import load

    net = load(network)
    x = torch.rand(1, 1, 1024, 1024, generator=torch.Generator().manual_seed(0))
    wall, processor = [], []
    with torch.inference_mode():
        for _ in range(count):
            started, spent = time.perf_counter(), time.process_time()
            net(x)
            wall.append(time.perf_counter() - started)
            processor.append(time.process_time() - spent)
    return min(wall), min(processor)


def main() -> None:
    kind, network, count = sys.argv[1:]
    keep_large_buffers("cpu")
    seconds, processor = {"step": step, "image": image}[kind](network, int(count))
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "seconds": seconds,
        "processor": processor,
        "memory": used.ru_maxrss * 1024 / 1e6,  # from KiB
        "faults": used.ru_minflt / 1000,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
