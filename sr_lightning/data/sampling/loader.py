"""Data loaders, including a timed one for training batches with clear messages if a worker fails."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch.utils.data import DataLoader

from sr_lightning.data.batch import EvalImage, NoImage, TrainWindows
from sr_lightning.data.datasets import EvalImages, TrainSamples
from sr_lightning.data.sampling.sampler import BatchSampler
from sr_lightning.errors import FailedError, TrainingFailedError, UserError

_Batch = TypeVar("_Batch")
_SHARED = "/dev/shm"  # where torch passes batches between processes
_PREFETCHED = 2  # batches per worker, torch's default


class TimedLoader(DataLoader[TrainWindows]):
    """A DataLoader that measures how long its consumer waits for it, and knows which samples it is waiting for.

    Without workers, a thread crops the next batch while the network computes on the current one.
    """

    waited = 0.0
    """Seconds waited since the start."""

    def __iter__(self) -> Iterator[TrainWindows]:  # type: ignore[override]  # a generator around torch's iterator
        batches: Iterator[TrainWindows] = super().__iter__()
        batches, requests = batches if self.num_workers else _ahead(batches), iter(self.sampler)
        while True:
            start = time.perf_counter()
            try:
                batch = next(batches)
            except (UserError, FailedError) as error:
                raise type(error)(_own_message(error)) from None
            except (RuntimeError, ConnectionError, EOFError) as error:
                if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader"):
                    raise
                raise TrainingFailedError(
                    f"data: the samples {next(requests).samples} did not come: {str(error) or 'no answer'}. A process "
                    "that cuts windows has died (was there memory enough?) or hangs (does the disk answer? is "
                    "/dev/shm full?); data.num_workers=0 does without them"
                ) from error
            next(requests)
            self.waited += time.perf_counter() - start
            yield batch


@contextmanager
def dead_workers_ignored() -> Iterator[None]:
    """Disables torch's SIGCHLD handler, which raises wherever the main thread happens to be when a worker dies."""
    before = signal.getsignal(signal.SIGCHLD)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def _own_message(error: Exception) -> str:
    """Returns an error's message without the worker's traceback, which torch prepends."""
    return re.split(rf"\n(?:\w+\.)*{type(error).__name__}: ", str(error))[-1].rstrip()


def _ahead(batches: Iterator[TrainWindows]) -> Iterator[TrainWindows]:
    """Yields batches, working one ahead. NumPy's copies and torch's operations release the GIL meanwhile."""
    with ThreadPoolExecutor(1, thread_name_prefix="windows") as pool:
        coming = pool.submit(next, batches)
        while True:
            batch = coming.result()
            coming = pool.submit(next, batches)
            yield batch


def train_loader(
    samples: TrainSamples, sampler: BatchSampler, *, num_workers: int, timeout: float, seed: int, pin: bool = False
) -> TimedLoader:
    """Creates the loader of training batches.

    Args:
        samples: Dataset that crops a batch.
        sampler: Determines the samples of each batch.
        num_workers: Number of processes that crop; 0: a thread crops.
        timeout: Maximum seconds to wait for a batch from a worker.
        seed: Seed of the workers' own generators.
        pin: Whether to copy batches into page-locked memory, from which a GPU reads without blocking.

    Raises:
        UserError: There is too little shared memory for the batches from the workers.
    """
    if num_workers:
        _check_shared_memory(num_workers, max(samples.batch_bytes(sampler.share, scale) for scale in sampler.scales))
    return TimedLoader(
        samples,
        sampler=sampler,
        batch_size=None,  # a request is already a batch
        collate_fn=as_it_is,
        num_workers=num_workers,
        timeout=timeout if num_workers else 0,
        worker_init_fn=ignore_interrupts,
        pin_memory=pin,
        # Its own generator: a loader draws its workers' seed when it starts, and that must not advance the
        # generator used by dropout.
        generator=torch.Generator().manual_seed(seed),
    )


def _check_shared_memory(num_workers: int, batch_bytes: int) -> None:
    """Checks this up front: a worker out of memory only prints it and never delivers; containers often have 64 MB."""
    if not sys.platform.startswith("linux"):
        return
    free = shutil.disk_usage(_SHARED).free if os.path.isdir(_SHARED) else 0
    needed = batch_bytes * (num_workers * _PREFETCHED + 1)
    if needed > free:
        raise UserError(
            f"data.num_workers: found {num_workers}, whose batches need {needed / 1e6:.1f} MB of shared memory, but "
            f"{_SHARED} has {free / 1e6:.1f}; allowed: data.num_workers=0 (windows are then cut in a thread), or more "
            "shared memory (docker run --shm-size=1g)"
        )


def eval_loader(images: EvalImages, share: range) -> DataLoader[EvalImage | NoImage]:
    """Creates the loader of whole images; `share` holds the indices assigned to this rank."""
    # Its own generator again: a validation must not change what training draws afterwards.
    return DataLoader(images, batch_size=None, collate_fn=as_it_is, sampler=share, generator=torch.Generator())


def as_it_is(batch: _Batch) -> _Batch:
    """Replaces torch's own collation, which visits each number of a batch."""
    return batch


def ignore_interrupts(_: int) -> None:
    """Ignores a terminal's Ctrl-C, which reaches the workers too; the run ends them once it has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
