"""Several processes for one run: one for each device, started and watched by the command.

Each process runs the whole job from a file of plain data, so that it does not matter how the command itself was
started: by `-m`, by a console script, inside a sweep or a launcher plugin. The parent trains nothing; it waits,
passes signals on, and ends the others as soon as one fails: a rank that waits for a dead one would wait for ever.
Under torchrun or srun the processes exist already and nothing is started.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sr_lightning.cli.commands import COMMANDS, Config, hardware
from sr_lightning.distributed.environment import is_launched
from sr_lightning.distributed.environment import ranks as environment_ranks
from sr_lightning.errors import FailedError, InterruptedRun, TrainingFailedError, UserError
from sr_lightning.runs.run import Run
from sr_lightning.text import Formatter

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_GRACE = 20.0  # seconds that the other ranks get to end by themselves
_ERRORS: dict[str, type[Exception]] = {error.__name__: error for error in (UserError, FailedError, TrainingFailedError)}


def processes(config: Config) -> int:
    """How many processes this command has to start for a run; 1: it runs here.

    Raises:
        UserError: Several nodes are asked for, which one command cannot start.
    """
    if is_launched():
        return 1
    asked = hardware(config)
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
        import torch

        return max(torch.cuda.device_count(), 1)
    return int(devices)


def run_ranks(n: int, name: str, config: Config, run: Run) -> float | None:
    """Runs one job in n processes.

    Args:
        n: Number of processes.
        name: The command, whose module holds the function of that name.
        config: Checked.
        run: Where it lies.

    Returns:
        The objective.

    Raises:
        UserError: As in the first process.
        TrainingFailedError: A process failed; the message says which and why.
        InterruptedRun: A signal stopped it.
    """
    job = run.folder / "ranks"
    job.mkdir(exist_ok=True)
    for old in job.iterdir():
        old.unlink()
    (job / "job.json").write_text(json.dumps({"config": asdict(config), "run": run.to_plain()}), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [_start(rank, n, port, name, run.folder) for rank in range(n)]
    with _passed_on(ranks):
        failed = _first_failure(ranks)
    if failed is None:
        result: float | None = json.loads((job / "rank0.json").read_text(encoding="utf-8"))["objective"]
        shutil.rmtree(job)
        return result
    status = ranks[failed].returncode
    told = job / f"rank{failed}.json"
    if told.is_file():
        error = json.loads(told.read_text(encoding="utf-8"))
        if error["type"] == "UserError":
            shutil.rmtree(job)  # nothing began, so nothing stays
        raise _ERRORS.get(error["type"], TrainingFailedError)(error["message"])
    if status - 128 in _SIGNALS:
        raise InterruptedRun(status - 128)
    raise TrainingFailedError(f"process {failed} of {n} ended with status {status}; what they said lies in {job}")


def _start(rank: int, n: int, port: int, name: str, folder: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "RANK": str(rank),
        "WORLD_SIZE": str(n),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # Else each process computes with all cores.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max((os.cpu_count() or n) // n, 1))),
    }
    command = [sys.executable, "-m", "sr_lightning.cli.launcher", name, str(folder)]
    if rank == 0:
        return subprocess.Popen(command, env=environment)
    with (folder / "ranks" / f"rank{rank}.log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)


def _first_failure(ranks: list[subprocess.Popen[bytes]]) -> int | None:
    """Waits for all; ends the others once one has failed. Returns the rank that failed first."""
    while all(process.poll() in (None, 0) for process in ranks):
        if all(process.poll() == 0 for process in ranks):
            return None
        time.sleep(0.05)
    failed = next(rank for rank, process in enumerate(ranks) if process.poll() not in (None, 0))
    deadline = time.monotonic() + _GRACE
    # After a signal or a wrong input all end by themselves, each with its own message.
    by_itself = ranks[failed].returncode in (2, *(128 + number for number in _SIGNALS))
    while by_itself and time.monotonic() < deadline and any(process.poll() is None for process in ranks):
        time.sleep(0.05)
    is_everybodys = ranks[0].poll() == ranks[failed].returncode  # then the first one's message serves
    for process in ranks:
        if process.poll() is None:
            process.kill()
    for process in ranks:
        process.wait()
    return 0 if is_everybodys else failed


@contextmanager
def _passed_on(ranks: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Passes signals on to the processes (a terminal's Ctrl-C reaches them by itself)."""

    def pass_on(number: int, _: object) -> None:
        for process in ranks:
            if process.poll() is None and (number != signal.SIGINT or not sys.stdin.isatty()):
                process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# -- in each process -------------------------------------------------------------------------------------


def _read_job(folder: Path, name: str) -> tuple[Any, Run]:
    plain: dict[str, Any] = json.loads((folder / "ranks" / "job.json").read_text(encoding="utf-8"))
    return COMMANDS[name].restore(plain["config"]), Run.from_plain(plain["run"])


def _log_to(folder: Path, name: str, rank: int) -> None:
    console = logging.StreamHandler(sys.stdout)
    console.setFormatter(Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, handlers=[console])
    if rank == 0:
        file = logging.FileHandler(folder / f"{name}.log", encoding="utf-8")
        file.setFormatter(Formatter("[%(asctime)s][%(name)s][%(levelname)s] %(message)s"))
        logging.getLogger().addHandler(file)


def _end_with_parent() -> None:
    """A process whose parent was killed ends too."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    """`python -m sr_lightning.cli.launcher <command> <run folder>`: one process of a run."""
    name, folder, rank = sys.argv[1], Path(sys.argv[2]), environment_ranks().rank
    told = folder / "ranks" / f"rank{rank}.json"
    _end_with_parent()
    _log_to(folder, name, rank)
    config, run = _read_job(folder, name)
    task: Callable[[Any, Run], float | None] = getattr(importlib.import_module(f"sr_lightning.{name}"), name)
    try:
        told.write_text(json.dumps({"objective": task(config, run)}), encoding="utf-8")
    except InterruptedRun as stopped:
        return stopped.exit_status
    except (UserError, FailedError) as error:
        told.write_text(json.dumps({"type": type(error).__name__, "message": str(error)}), encoding="utf-8")
        return 2 if isinstance(error, UserError) else 1
    except Exception as error:
        traceback.print_exc()
        told.write_text(json.dumps({"type": "", "message": f"process {rank}: {error}"}), encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: after a failure the process group's threads may wait for the other ranks.
    os._exit(status)
