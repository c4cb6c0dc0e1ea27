"""Runs that are killed, stopped or damaged, and what they lose: sections of `bench_faults.py`."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra.core.utils
import numpy as np
import torch
from PIL import Image

import sr_lightning.builders.components
import sr_lightning.callbacks
import sr_lightning.loggers.weights_and_biases
import sr_lightning.runs.environment  # noqa: F401  # what a run imports, before it is forked
from sr_lightning.checkpoints.integrity import DamagedError, find_resumable, read_trailer
from sr_lightning.train import main as train

NET = '''
from torch import nn

class Net(nn.Sequential):
    """Draws random numbers in training."""
    def __init__(self, scale):
        super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.Dropout2d(0.3),
                         nn.Conv2d(8, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
'''
RUN = [
    *("--config-dir", "conf", "model=dropping", "scale=2", "data=folder", "data.train_dir=images"),
    *("data.val_holdout=2", "data.batch_size=4", "data.patch_size=8", "optimizer.lr=1e-2", "trainer=cpu"),
    *("trainer.precision=32", "trainer.max_steps=40", "trainer.val_check_interval=4", "trainer.log_every_n_steps=1"),
    "logger=csv",
]
# A saved config is not trusted if it names a class that is not ours, so this must be passed again.
AGAIN = [*RUN[:2], "model._target_=dropping.Net"]
SETTINGS = {
    "plain": [],
    "average": ["callbacks=ema"],
    "accumulated": ["trainer.accumulate_grad_batches=2"],
    "two workers": ["data.num_workers=2"],
    "SOAP": ["optimizer=soap"],
}
STATE = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "SRDataModule")


@dataclass
class Row:
    """Expected and actual outcome of a fault."""

    fault: str
    expected: str
    seen: str
    ok: bool | None
    """Whether they agree; None if it was not run, or concerns something not implemented."""
    id: str = ""
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    """Counts for the totals at the end, which are sums over rows."""


def surroundings() -> None:
    """Creates images, a network and its config in the working folder."""
    Path("images").mkdir()
    draw = np.random.default_rng(0)
    for i in range(5):
        waves = np.cumsum(draw.normal(0, 12, (34 + 3 * i, 40, 3)), axis=1) + 128
        Image.fromarray(waves.clip(0, 255).astype(np.uint8)).save(f"images/{i}.png")
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/dropping.yaml").write_text("_target_: dropping.Net\nscale: ${scale}\n")
    Path("dropping.py").write_text(NET)
    sys.path.insert(0, os.getcwd())
    os.environ["SR_CACHE"] = "cache"


def begin(arguments: list[str]) -> int:
    """Forks a run, with its output in `said.txt`."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        status = train(arguments)
    except SystemExit as left:
        status = int(left.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def finish(child: int) -> int:
    """Waits for a process and returns its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def straight(name: str) -> float:
    """Runs without interruption, and returns the duration in seconds."""
    started = time.monotonic()
    assert finish(begin([*RUN, *SETTINGS[name], f"hydra.run.dir=straight {name}"])) == 0, Path("said.txt").read_text()
    return time.monotonic() - started


def differences(one: str, other: str) -> list[str]:
    """Returns in what respects two finished runs are not bit-identical."""
    found = []
    for name in ("last", "best"):
        a, b = (
            torch.load(Path(run, "checkpoints", f"{name}.ckpt"), map_location="cpu", weights_only=True)
            for run in (one, other)
        )
        found += [f"{name}: {key}" for key in (*STATE, "exact_resume") if not same(a.get(key), b.get(key))]
    logged = []
    for run in (one, other):
        with Path(run, "metrics.csv").open() as file:
            rows = [{k: v for k, v in row.items() if v and not k.startswith("time/")} for row in csv.DictReader(file)]
        logged.append(rows)
    objectives = [json.loads(Path(run, "results.json").read_text())["objective"] for run in (one, other)]
    return [
        *found,
        *(["metrics.csv"] if logged[0] != logged[1] else []),
        *(["objective"] if objectives[0] != objectives[1] else []),
    ]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@dataclass
class Outcome:
    """Outcome of one run that was stopped and resumed until it was done."""

    stops: int = 0
    unreadable: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def told(self) -> list[str]:
        """All deviations from the expected outcome."""
        return [*self.unreadable, *self.left, *self.wrong]


Stop = Callable[[int, Path], int]
"""Ends a process that runs in the given folder by a signal, and returns the number of the signal."""


def stopped_until_done(name: str, folder: str, n: int, stop: Stop) -> Outcome:
    """Starts a run, lets `stop` end it up to n times, and resumes it until it is done."""
    found = Outcome()
    try:
        _stopped_until_done(found, name, Path(folder), n, stop)
    except Exception as error:  # one failure must not end a thousand kills
        found.wrong.append(f"{type(error).__name__}: {error}")
    return found


def _stopped_until_done(found: Outcome, name: str, folder: Path, n: int, stop: Stop) -> None:
    arguments = [*RUN, *SETTINGS[name], f"hydra.run.dir={folder}"]
    while True:
        child = begin(arguments)
        number = stop(child, folder) if found.stops < n else None
        status = finish(child)
        found.unreadable += unreadable(folder / "checkpoints")
        if status == 0:
            break
        if number is None or status not in (-number, 128 + number):  # not ended by the signal
            found.wrong.append(f"status {status}")
            return
        found.stops += 1
        if (folder / ".hydra/overrides.yaml").exists():  # Hydra writes it last; without it, the run has not begun
            arguments = [*AGAIN, f"ckpt_path={folder}"]
    found.left = [path.name for path in folder.rglob("*.part")]
    found.wrong += differences(f"straight {name}", str(folder))


def unreadable(checkpoints: Path) -> list[str]:
    """Returns incomplete or damaged files that have a final name."""
    found = [f"{path.name} {reason}" for path, reason in find_resumable(checkpoints).damaged.items()]
    try:
        if (best := checkpoints / "best.ckpt").is_file() and read_trailer(best) is None:
            found.append("best.ckpt has no trailer")
    except DamagedError as error:
        found.append(f"best.ckpt {error.reason}")
    return found


def row_of(fault: str, expected: str, what: str, outcomes: list[Outcome], more: str = "") -> Row:
    """Summarises many runs in one row."""
    wrong = sorted({text for outcome in outcomes for text in outcome.told})
    counts = {
        what: sum(outcome.stops for outcome in outcomes),
        "unreadable": sum(len(outcome.unreadable) for outcome in outcomes),
        "left over": sum(len(outcome.left) for outcome in outcomes),
        "stopped runs": len(outcomes),
        "bit-equal": sum(not outcome.wrong for outcome in outcomes),
    }
    seen = f"{counts[what]} {what} in {len(outcomes)} runs{more}: {', '.join(wrong[:5]) if wrong else 'all equal'}"
    return Row(fault, expected, seen, not wrong, counts=counts)


def progress(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


EQUAL = "continued run bit-equal, nothing left over"


def kills(n: int, draw: random.Random) -> Iterator[Row]:
    """Sends SIGKILL at uniformly random times, on two file systems, with 0 and 2 workers."""
    for number, name in enumerate(SETTINGS):
        if not (share := n // len(SETTINGS) + (number < n % len(SETTINGS))):
            continue
        seconds = straight(name)
        outcomes: list[Outcome] = []

        def stop(child: int, folder: Path, seconds: float = seconds) -> int:
            time.sleep(draw.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
            return signal.SIGKILL

        # A run may finish before it is killed, and then does not count.
        while (made := sum(outcome.stops for outcome in outcomes)) < share and len(outcomes) < 20 * share:
            most = min(share - made, draw.randint(1, 5))
            outcomes.append(stopped_until_done(name, f"killed {name} {len(outcomes)}", most, stop))
            lost = sum(bool(outcome.told) for outcome in outcomes)
            progress(f"{os.getcwd()}: {name}: {made + outcomes[-1].stops} of {share} kills, {lost} runs lost")
        row = row_of(f"SIGKILL, {name}, in {Path.cwd().parent}", EQUAL, "kills", outcomes)
        row.ok = row.ok and made == share
        yield row


def starts(n: int, draw: random.Random) -> Iterator[Row]:
    """Sends SIGKILL while Hydra writes the three files of a run: before, during or after each of them."""
    name, outcomes = "plain", []
    straight(name)
    for i in range(n):
        folder, outcome = Path(f"starting {i}"), Outcome(stops=1)
        again = [*RUN, f"hydra.run.dir={folder}"]
        with killed_while_saving(draw.randint(1, 3), draw.random()):
            status = finish(begin(again))
        outcome.wrong += [] if status == -signal.SIGKILL else [f"status {status}"]
        status = finish(begin([*AGAIN, f"ckpt_path={folder}"])) if i % 2 else 2
        status = finish(begin(again)) if status == 2 else status  # refused, as it had not begun
        outcome.wrong += [] if status == 0 else [f"not begun again: status {status}"]
        outcome.wrong += differences(f"straight {name}", str(folder)) if status == 0 else []
        outcomes.append(outcome)
    yield row_of("SIGKILL while Hydra writes", "the same command, or ckpt_path=, begins it again", "starts", outcomes)


@contextmanager
def killed_while_saving(number: int, share: float) -> Iterator[None]:
    """Makes processes forked in the block die while Hydra saves its n-th file, with the given share of it written."""
    real, saved = hydra.core.utils._save_config, 0

    def save(config: Any, filename: str, output_dir: Path) -> None:
        nonlocal saved
        saved += 1
        real(config, filename, output_dir)
        if saved == number:
            path = Path(output_dir, filename)
            os.truncate(path, int(share * path.stat().st_size))
            os.kill(os.getpid(), signal.SIGKILL)

    hydra.core.utils._save_config = save
    try:
        yield
    finally:
        hydra.core.utils._save_config = real


def stops(n: int, draw: random.Random) -> Iterator[Row]:
    """Stops runs two to five times, with varying signals."""
    for number, name in enumerate(SETTINGS):
        if not (share := n // len(SETTINGS) + (number < n % len(SETTINGS))):
            continue
        straight(name)
        outcomes = []
        for i in range(share):

            def stop(child: int, folder: Path) -> int:
                wait_for_rows(child, folder, draw.randint(1, 12))
                number = draw.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
                os.kill(child, number)
                return number

            outcomes.append(stopped_until_done(name, f"often {name} {i}", draw.randint(2, 5), stop))
            progress(f"{name}: run {i + 1}, {outcomes[-1].stops} stops, {outcomes[-1].told or 'equal'}")
        yield row_of(f"2 to 5 stops, {name}", EQUAL, "stops", outcomes)


def wait_for_rows(child: int, folder: Path, more: int) -> None:
    """Waits until the process has logged this many more rows than when it began to log, or has ended."""
    path, least = folder / "metrics.csv", None
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if path.exists():
            count = path.read_text().count("\n")
            least = count if least is None else min(least, count)  # rows of repeated steps are cut off first
            if count >= least + more:
                return
        time.sleep(0.002)


def signals(n: int, draw: random.Random) -> Iterator[Row]:
    """Sends SIGTERM, SIGINT and SIGUSR1 at random times during training."""
    name = "plain"
    straight(name)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        outcomes, slowest = [], 0.0
        for i in range(max(n // 3, 1)):
            folder, outcome = Path(f"stopped {number.name} {i}"), Outcome(stops=1)
            child, at = begin([*RUN, f"hydra.run.dir={folder}"]), draw.randint(2, 35)
            wait_for_rows(child, folder, at)
            sent = time.monotonic()
            os.kill(child, number)
            status = finish(child)
            slowest = max(slowest, time.monotonic() - sent)
            outcome.wrong += [] if status == 128 + number else [f"status {status}"]
            trailer = find_resumable(folder / "checkpoints").trailer
            outcome.wrong += [] if trailer and trailer.step >= at - 12 else ["no checkpoint of the step"]
            outcome.wrong += [] if finish(begin([*AGAIN, f"ckpt_path={folder}"])) == 0 else ["not continued"]
            outcome.wrong += differences(f"straight {name}", str(folder))
            outcomes.append(outcome)
        expected = f"status {128 + number} within 10 s, continued run bit-equal"
        row = row_of(number.name, expected, "signals", outcomes, f", slowest {slowest:.1f} s")
        row.ok = row.ok and slowest <= 10
        yield row


def flips(n: int, draw: random.Random) -> list[Row]:
    """Flips single bits in, and truncates, a checkpoint of a real run."""
    straight("average")
    whole = Path("straight average/checkpoints/last.ckpt").read_bytes()
    path, missed = Path("damaged/last.ckpt"), {"bits": 0, "cuts": 0}
    path.parent.mkdir()
    for kind in missed:
        for _ in range(n):
            data = bytearray(whole)
            if kind == "bits":
                place = draw.randrange(8 * len(data))
                data[place // 8] ^= 1 << place % 8
            else:
                del data[draw.randrange(1, len(data)) :]
            path.write_bytes(data)
            missed[kind] += find_resumable(path.parent).newest is not None
    return [
        Row(f"{n} {kind}", f"{n} found", f"{n - count} found", count == 0, counts={"damaged": n, "found": n - count})
        for kind, count in missed.items()
    ]
