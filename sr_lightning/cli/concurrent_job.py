"""Sweep jobs that run concurrently, in processes other than the command's: resource shares, output and stopping.

Joblib's worker processes run several jobs one after another, and state left behind by one (W&B run, random states,
memory) would leak into the next. So each of these jobs gets a process of its own; SLURM jobs already have one.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sr_lightning.cli.commands import RunConfig
from sr_lightning.cli.launcher import processes, run_ranks
from sr_lightning.cli.sweep import STOP, Sweep, this_process
from sr_lightning.cli.sweep_table import OUTPUT
from sr_lightning.config.conf_files import register_resolvers
from sr_lightning.config.launchers import is_one_after_the_other
from sr_lightning.errors import InterruptedRun
from sr_lightning.runs.run import Run
from sr_lightning.runs.shares import cores, held_slot, share, visible_gpus
from sr_lightning.text import tolerate_encodings

_LOOKS = 1.0  # seconds between checks for the file that asks the jobs to stop


@dataclass
class ConcurrentJob:
    """Context of a job that runs concurrently with others: gives it its share, and stops it on request.

    Args:
        folder: The sweep folder.
        slots: Number of jobs that run at once.
        needs_process: Whether the job needs a process of its own, as the current one also runs other jobs.
        threads: Threads per job; None for its share of the cores.
    """

    folder: Path
    slots: int
    needs_process: bool
    threads: str | None = None
    slot: int = 0
    _stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def of(cls, settings: Any, sweep: Sweep) -> ConcurrentJob | None:
        """Returns the current job; None if the launcher runs the jobs one after another.

        Args:
            settings: The job's `hydra` section.
            sweep: The sweep.
        """
        target = str(settings.launcher.get("_target_", ""))
        if is_one_after_the_other(target) or sweep.process == this_process():
            return None
        register_resolvers()  # this is a new process
        tolerate_encodings()
        limit = settings.launcher.get("n_jobs", settings.launcher.get("array_parallelism", -1))
        jobs = max(sweep.count(), 1)
        slots = min(jobs, cores() + 1 + int(limit) if int(limit) < 0 else int(limit)) if "joblib" in target else jobs
        return cls(sweep.folder, max(slots, 1), "joblib" in target, sweep.threads)

    def __enter__(self) -> ConcurrentJob:
        """Takes a free slot, and starts watching for the file that asks the jobs to stop."""
        self.slot = self._stack.enter_context(held_slot(self.folder, self.slots))
        ended = threading.Event()
        self._stack.callback(ended.set)
        threading.Thread(target=_end_when_asked, args=(self.folder, ended), daemon=True).start()
        if not self.needs_process and "SLURM_JOB_ID" not in os.environ:
            os.environ.update(share(self.slot, self.slots, gpus=[], threads=self.threads))
        elif not self.needs_process and "SLURM_CPUS_PER_TASK" in os.environ:
            os.environ.setdefault("OMP_NUM_THREADS", os.environ["SLURM_CPUS_PER_TASK"])
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, name: str, config: RunConfig, run: Run) -> float | None:
        """Runs the job in one or several processes of its own, with their output in a file in its folder.

        Args:
            name: The command.
            config: The checked config.
            run: The run, with its folder.
        """
        gpus = [] if config.hardware.get("accelerator") == "cpu" else visible_gpus()
        environment = share(self.slot, self.slots, gpus=gpus, threads=self.threads)
        own = environment.get("CUDA_VISIBLE_DEVICES")
        n = processes(config, gpus=own.split(",") if own else None)
        signal.signal(signal.SIGINT, _leave_it_to_the_command)
        return run_ranks(n, name, config, run, environment=environment, output=run.folder / OUTPUT)


def stop_is_asked(folder: Path) -> bool:
    """Whether the jobs of the sweep in this folder have been asked to stop."""
    return (folder / STOP).exists()


@contextmanager
def stopping_jobs(folder: Path) -> Iterator[None]:
    """On SIGINT or SIGTERM to the waiting command, lets the jobs save their state before the command ends.

    Args:
        folder: The sweep folder.

    Raises:
        InterruptedRun: A signal was received; raised at the end of the block.
    """
    came: list[int] = []

    def stop(number: int, _: object) -> None:
        if came and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not came:
            (folder / STOP).touch()
            print("\nstopping: the jobs save their state (Ctrl-C again ends at once)", flush=True)
        came.append(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise InterruptedRun(came[0], is_told=True)


def _end_when_asked(folder: Path, ended: threading.Event) -> None:
    """Ends the job on request with SIGTERM to its process; a job with processes of its own forwards the signal."""
    while not ended.wait(_LOOKS):
        if stop_is_asked(folder):
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _leave_it_to_the_command(number: int, frame: object) -> None:
    """Ignores Ctrl-C, which a terminal sends to all processes: a worker that died from it would end the other jobs."""
