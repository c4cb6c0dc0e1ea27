"""Launching and monitoring of a run's processes, one per device.

The parent does not train: it waits, forwards signals, and terminates all ranks as soon as one fails, since a rank that
waits for a dead one would wait forever. Under torchrun or srun the processes already exist, so nothing is launched.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sr_lightning.cli.commands import RunConfig
from sr_lightning.cli.rank import RANKS, remove_job, write_job
from sr_lightning.distributed.environment import is_launched
from sr_lightning.errors import FailedError, InterruptedRun, TrainingFailedError, UserError
from sr_lightning.runs.lock import held_locks
from sr_lightning.runs.run import Run

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_GRACE = 20.0  # seconds that the other ranks get to exit by themselves
_ERRORS: dict[str, type[Exception]] = {error.__name__: error for error in (UserError, FailedError, TrainingFailedError)}


def processes(config: RunConfig, *, gpus: Sequence[str] | None = None) -> int:
    """Returns the number of processes to launch for a run; 1 means that it runs in this process.

    Args:
        config: The checked config.
        gpus: GPUs that the run may use; None for all.

    Raises:
        UserError: Several nodes are requested, on which a single command cannot launch processes.
    """
    if is_launched():
        return 1
    asked = config.hardware
    if asked.get("num_nodes", 1) > 1:
        raise UserError(
            f"trainer.num_nodes: found {asked['num_nodes']}, but one command starts processes on one machine; "
            "allowed: 1, or the same command under torchrun or srun"
        )
    devices = asked.get("devices", 1)
    if isinstance(devices, list):
        return len(devices)
    if devices in ("auto", -1, "-1"):
        if asked.get("accelerator") == "cpu":
            return 1
        if gpus is not None:
            return max(len(gpus), 1)
        import torch

        return max(torch.cuda.device_count(), 1)
    return int(devices)


def run_ranks(
    n: int,
    name: str,
    config: RunConfig,
    run: Run,
    *,
    environment: Mapping[str, str] | None = None,
    output: Path | None = None,
) -> float | None:
    """Runs one job in n processes.

    Args:
        n: Number of processes.
        name: The command, whose module defines a function of that name.
        config: The checked config.
        run: The run, with its folder.
        environment: Environment variables for the processes, in addition to those of this one.
        output: File to which the output of the first process is appended; None for this process's own output.

    Returns:
        The objective.

    Raises:
        UserError: A process rejected its input; raised with the same message.
        TrainingFailedError: A process failed; the message states which and why.
        InterruptedRun: A signal stopped the run.
    """
    job = run.folder / RANKS
    job.mkdir(exist_ok=True)
    remove_job(run.folder)
    job.mkdir(exist_ok=True)
    write_job(config, run)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = os.environ | dict(environment or {})
    ranks = [_start(rank, n, port, name, run.folder, variables, output) for rank in range(n)]
    with _forward_signals(ranks):
        failed = _first_failure(ranks)
    if failed is None:
        result: float | None = json.loads((job / "rank0.json").read_text(encoding="utf-8"))["objective"]
        remove_job(run.folder)
        return result
    status = ranks[failed].returncode
    report = job / f"rank{failed}.json"
    if report.is_file():
        error = json.loads(report.read_text(encoding="utf-8"))
        if error["type"] == "UserError":
            remove_job(run.folder)  # nothing was started, so nothing is kept
        raise _ERRORS.get(error["type"], TrainingFailedError)(error["message"])
    if (number := _signal(status)) is not None:
        remove_job(run.folder)
        raise InterruptedRun(number, is_told=status > 0)  # its own handler has told, the kernel has not
    raise TrainingFailedError(
        f"process {failed} of {n} ended with status {status}; their output lies in {output or job}"
    )


def _start(
    rank: int, n: int, port: int, name: str, folder: Path, variables: Mapping[str, str], output: Path | None
) -> subprocess.Popen[bytes]:
    environment = {
        **variables,
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "RANK": str(rank),
        "WORLD_SIZE": str(n),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # Otherwise each process would use all cores.
        "OMP_NUM_THREADS": variables.get("OMP_NUM_THREADS", str(max((os.cpu_count() or n) // n, 1))),
    }
    # The ranks share the locks, or the folder would be unlocked if this process were killed while they still run.
    locks = held_locks()
    command = [sys.executable, "-m", "sr_lightning.cli.rank", name, str(folder), str(os.getpid()), *map(str, locks)]
    if rank == 0 and output is None:
        return subprocess.Popen(command, env=environment, pass_fds=locks)
    file = output if rank == 0 and output is not None else folder / RANKS / f"rank{rank}.log"
    with file.open("ab") as log:
        return subprocess.Popen(command, env=environment, pass_fds=locks, stdout=log, stderr=subprocess.STDOUT)


def _first_failure(ranks: list[subprocess.Popen[bytes]]) -> int | None:
    """Waits for all ranks, terminating them once one has failed. Returns the rank that failed first."""
    while all(process.poll() in (None, 0) for process in ranks):
        if all(process.poll() == 0 for process in ranks):
            return None
        time.sleep(0.05)
    failed = next(rank for rank, process in enumerate(ranks) if process.poll() not in (None, 0))
    deadline = time.monotonic() + _GRACE
    # After a signal or wrong input all ranks exit by themselves, each with its own message.
    ends_by_itself = ranks[failed].returncode == 2 or _signal(ranks[failed].returncode) is not None
    while ends_by_itself and time.monotonic() < deadline and any(process.poll() is None for process in ranks):
        time.sleep(0.05)
    is_same = ranks[0].poll() == ranks[failed].returncode  # then the message of rank 0 will do
    for process in ranks:
        if process.poll() is None:
            process.kill()
    for process in ranks:
        process.wait()
    return 0 if is_same else failed


def _signal(status: int) -> int | None:
    """Returns the signal that ended a process, by its own handler or (during imports) the kernel; None if none did."""
    return next((int(number) for number in _SIGNALS if status in (128 + number, -number)), None)


@contextmanager
def _forward_signals(ranks: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Forwards signals to the processes (Ctrl-C in a terminal reaches them anyway)."""

    def forward(number: int, _: object) -> None:
        for process in ranks:
            if process.poll() is None and (number != signal.SIGINT or not sys.stdin.isatty()):
                process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
