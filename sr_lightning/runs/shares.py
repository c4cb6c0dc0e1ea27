"""Division of a machine's CPU cores and GPUs among concurrent runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sr_lightning.files import take_lock


def cores() -> int:
    """Number of CPU cores available to this process."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """GPUs available to this process, named as in `CUDA_VISIBLE_DEVICES`."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def share(slot: int, slots: int, *, gpus: list[str], threads: str | None = None) -> dict[str, str]:
    """Returns environment variables that limit a run to its share.

    Args:
        slot: Index among the concurrent runs.
        slots: Number of concurrent runs.
        gpus: GPUs to divide; if there are fewer than runs, several runs share one. Empty on a CPU.
        threads: Number of threads requested by the user; None for the share of the cores.

    Returns:
        `OMP_NUM_THREADS`, and with GPUs `CUDA_VISIBLE_DEVICES`.
    """
    threads = threads or str(max(cores() // slots, 1))
    if not gpus:
        return {"OMP_NUM_THREADS": threads}
    each = max(len(gpus) // slots, 1)
    first = slot * each % len(gpus)
    return {"OMP_NUM_THREADS": threads, "CUDA_VISIBLE_DEVICES": ",".join(gpus[first : first + each])}


@contextmanager
def held_slot(folder: Path, slots: int) -> Iterator[int]:
    """Holds a number below `slots` that no other process holds, until the block ends or the process dies.

    Args:
        folder: Folder through which the processes coordinate.
        slots: Number of concurrent runs; if all numbers are taken, or the file system has no locks, 0 is used.
    """
    for slot in range(slots):
        descriptor = os.open(folder / f".slot{slot}", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            is_free = take_lock(descriptor)
        except OSError:
            is_free = False
        if not is_free:
            os.close(descriptor)
            continue
        try:
            yield slot
        finally:
            os.close(descriptor)
        return
    yield 0
