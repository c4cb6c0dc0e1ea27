"""Counts what is lost when runs are killed, stopped and damaged: a table, and the same as JSON.

    python scripts/bench_faults.py kills --n 20
    python scripts/bench_faults.py signals --n 6
    python scripts/bench_faults.py flips --n 200
    python scripts/bench_faults.py --out faults.json        # all of them

Everything is imported once; each run is a fork of this process, so that a killed run costs a second. The moments
of the kills and the bits are drawn from --seed. A run that was stopped is continued until it is done, and then
compared with one that never was: weights, average, moments, schedule, random state, samples, the best, every
logged value. A section is a function of (n, draw) that returns rows; `SECTIONS` lists them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich import box
from rich.console import Console
from rich.table import Table

import sr_lightning.build
import sr_lightning.callbacks
import sr_lightning.loggers
import sr_lightning.run_info  # noqa: F401  # what a run imports, before it is forked
from sr_lightning.seal import find_kept
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
    *("--config-dir", "conf", "model=dropping", "scale=2", "data=folder", "data.train_dir=pictures"),
    *("data.val_holdout=2", "data.batch_size=4", "data.patch_size=8", "optimizer.lr=1e-2", "trainer=cpu"),
    *("trainer.precision=32", "trainer.max_steps=40", "trainer.val_check_interval=4", "trainer.log_every_n_steps=1"),
    "logger=csv",
]
SETTINGS = {
    "plain": [],
    "average": ["callbacks=ema"],
    "accumulated": ["trainer.accumulate_grad_batches=2"],
    "two workers": ["data.num_workers=2"],
}
STATE = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "SRDataModule")


@dataclass
class Row:
    """What a fault was meant to lead to, and what it did."""

    fault: str
    expected: str
    seen: str
    ok: bool


Section = Callable[[int, random.Random], list[Row]]


def surroundings() -> None:
    """Pictures, a network and its config in the working folder."""
    Path("pictures").mkdir()
    draw = np.random.default_rng(0)
    for i in range(5):
        waves = np.cumsum(draw.normal(0, 12, (34 + 3 * i, 40, 3)), axis=1) + 128
        Image.fromarray(waves.clip(0, 255).astype(np.uint8)).save(f"pictures/{i}.png")
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/dropping.yaml").write_text("_target_: dropping.Net\nscale: ${scale}\n")
    Path("dropping.py").write_text(NET)
    sys.path.insert(0, os.getcwd())
    os.environ["SR_CACHE"] = "cache"


def begin(arguments: list[str]) -> int:
    """Forks a run; what it says goes to `said.txt`."""
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
    """Its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def straight(name: str) -> float:
    """The run that nothing stops; seconds that it takes."""
    started = time.monotonic()
    assert finish(begin([*RUN, *SETTINGS[name], f"hydra.run.dir=straight {name}"])) == 0, Path("said.txt").read_text()
    return time.monotonic() - started


def differences(one: str, other: str) -> list[str]:
    """What of two finished runs is not equal to the last bit."""
    found = []
    for name in ("last", "best"):
        a, b = (
            torch.load(Path(run, "checkpoints", f"{name}.ckpt"), map_location="cpu", weights_only=True)
            for run in (one, other)
        )
        found += [f"{name}: {key}" for key in (*STATE, "continuation") if not same(a.get(key), b.get(key))]
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


def stopped_until_done(name: str, folder: str, n: int, stop: Callable[[int], str | None]) -> tuple[int, list[str]]:
    """Begins a run, lets `stop` end it up to n times, and continues it to its end; stops made, and what went wrong."""
    stops, wrong = 0, []
    arguments = [*RUN, *SETTINGS[name], f"hydra.run.dir={folder}"]
    while True:
        child = begin(arguments)
        if stops < n:
            said = stop(child)
            wrong += [said] if said else []
        status = finish(child)
        kept = find_kept(Path(folder, "checkpoints"))
        wrong += [f"{path.name} {reason}" for path, reason in kept.damaged.items()]
        if status == 0:
            break
        stops += 1
        if stops > n + 1:
            return stops, [*wrong, f"status {status}"]
        if Path(folder, ".hydra/config.yaml").exists():  # else nothing has begun
            arguments = [*RUN[:2], f"ckpt_path={folder}"]
    left = [path.name for path in Path(folder).rglob("*.part")]
    return stops, [*wrong, *left, *differences(f"straight {name}", folder)]


def kills(n: int, draw: random.Random) -> list[Row]:
    """SIGKILL at uniformly random moments."""
    rows = []
    for number, name in enumerate(SETTINGS):
        seconds, share = straight(name), n // len(SETTINGS) + (number < n % len(SETTINGS))
        made, runs, wrong = 0, 0, []

        def stop(child: int, seconds: float = seconds) -> None:
            time.sleep(draw.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)

        while made < share:
            most = min(share - made, draw.randint(1, 5))
            stops, found = stopped_until_done(name, f"killed {name} {runs}", most, stop)
            made, runs, wrong = made + stops, runs + 1, [*wrong, *found]
        seen = f"{made} kills in {runs} runs: {'all equal' if not wrong else ', '.join(sorted(set(wrong)))}"
        rows.append(Row(f"SIGKILL, {name}", "continued run bit-equal, nothing left over", seen, not wrong))
    return rows


def signals(n: int, draw: random.Random) -> list[Row]:
    """SIGTERM, SIGINT and SIGUSR1 at random moments of the training."""
    rows, name = [], "plain"
    straight(name)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        wrong, slowest = [], 0.0
        for i in range(max(n // 3, 1)):
            folder, at = f"stopped {number.name} {i}", draw.randint(2, 35)
            child = begin([*RUN, f"hydra.run.dir={folder}"])
            rows_path = Path(folder, "metrics.csv")
            while not (rows_path.exists() and rows_path.read_text().count("\n") > at):
                time.sleep(0.002)
            sent = time.monotonic()
            os.kill(child, number)
            status = finish(child)
            slowest = max(slowest, time.monotonic() - sent)
            wrong += [] if status == 128 + number else [f"status {status}"]
            seal = find_kept(Path(folder, "checkpoints")).seal
            wrong += [] if seal and seal.step >= at - 12 else ["no checkpoint of the step"]
            wrong += [] if finish(begin([*RUN[:2], f"ckpt_path={folder}"])) == 0 else ["not continued"]
            wrong += differences(f"straight {name}", folder)
        seen = f"slowest {slowest:.1f} s: {'all equal' if not wrong else ', '.join(sorted(set(wrong)))}"
        expected = f"status {128 + number} within 10 s, continued run bit-equal"
        rows.append(Row(number.name, expected, seen, not wrong and slowest <= 10))
    return rows


def flips(n: int, draw: random.Random) -> list[Row]:
    """Single bits and cuts in a checkpoint of a real run."""
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
            missed[kind] += find_kept(path.parent).newest is not None
    return [Row(f"{n} {kind}", f"{n} found", f"{n - count} found", count == 0) for kind, count in missed.items()]


SECTIONS: dict[str, Section] = {"kills": kills, "signals": signals, "flips": flips}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="section", help=f"of {', '.join(SECTIONS)}; none: all")
    parser.add_argument("--n", type=int, default=12, help="faults of each section")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None, help="also write the rows as JSON")
    given = parser.parse_args()
    if unknown := set(given.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    torch.set_num_threads(1)
    out = given.out and given.out.absolute()
    rows: list[Row] = []
    for name in given.sections or SECTIONS:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            os.chdir(folder)
            surroundings()
            started = time.monotonic()
            rows += SECTIONS[name](given.n, random.Random(given.seed))
            print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
            os.chdir("/")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("fault", "expected", "seen", ""):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(row.fault, row.expected, row.seen, "ok" if row.ok else "LOST")
    Console().print(table)
    if out:
        out.write_text(json.dumps({"seed": given.seed, "n": given.n, "rows": [asdict(row) for row in rows]}, indent=1))
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
