"""Notices shown when a run starts."""

from __future__ import annotations

import os
import time
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

_LOOKS = 5
_PAUSE = 0.02  # seconds between samples


def busy_notice(trainer: pl.Trainer) -> str | None:
    """Advises what to do if other programs use the cores that training on a CPU relies on; None if they are free.

    The threads of a step wait for each other, so on a shared core the thread that is not running stalls all others:
    with two cores and two to four other processes, two threads achieved 0.2 to 0.5 steps per second, and one thread
    nine.
    """
    n_threads = torch.get_num_threads()
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    if trainer.strategy.root_device.type != "cpu" or n_threads == 1 or not n_cores:
        return None
    others = _running_elsewhere()
    free = max(n_cores - others, 1)
    if others == 0 or n_threads <= free:
        return None
    return (
        f"other programs keep {min(others, n_cores)} of the {n_cores} cores busy, and {n_threads} threads would wait "
        f"for each other: OMP_NUM_THREADS={free} before the command may be many times faster"
    )


def _running_elsewhere() -> int:
    """Counts the running threads of other programs, as the minimum of several samples; 0 if unknown."""
    least = n_cores = os.cpu_count() or 1
    for _ in range(_LOOKS):
        try:
            running = int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0])
        except (OSError, ValueError, IndexError):
            return 0
        least = min(least, running - 1)  # one of them is this thread
        time.sleep(_PAUSE)
    return max(min(least, n_cores), 0)


def batch_norm_notice(
    net: nn.Module, trainer: pl.Trainer, batch_size: int, *, is_synchronised: bool = False
) -> str | None:
    """Describes the share of a batch that batch normalisation sees, if it is split or accumulated; None otherwise.

    Args:
        net: The network.
        trainer: The trainer, which determines how a batch is split.
        batch_size: Samples per optimizer step, over all processes.
        is_synchronised: Whether statistics are shared by all processes (`trainer.sync_batchnorm`).
    """
    processes = 1 if is_synchronised else trainer.world_size
    parts = processes * trainer.accumulate_grad_batches
    if parts == 1 or not any(isinstance(module, _BatchNorm) for module in net.modules()):
        return None
    return (
        f"{type(net).__name__} has batch normalisation, which sees {batch_size // parts} samples at a time here, not "
        f"the {batch_size} of data.batch_size: with other devices or another trainer.accumulate_grad_batches the "
        "results differ" + ("; its running statistics are those of process 0" if processes > 1 else "")
    )
