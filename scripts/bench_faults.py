"""Counts what is lost when runs are killed, stopped and damaged: a table, and the same as JSON.

    python scripts/bench_faults.py matrix                   # every id of the fault matrix, by its tests
    python scripts/bench_faults.py kills --n 1000 --out kills.json
    python scripts/bench_faults.py stops --n 50             # runs that are stopped two to five times
    python scripts/bench_faults.py signals --n 6
    python scripts/bench_faults.py flips --n 200
    python scripts/bench_faults.py cost                     # what saving and checking takes
    python scripts/bench_faults.py --out faults.json        # all of them

Everything is imported once; each run is a fork of this process, so that a killed run costs a second. The moments
of the kills and the bits are drawn from --seed. A run that was stopped is continued until it is done, and then
compared with one that never was: weights, average, moments, schedule, random state, samples, the best, every
logged value. Kills are spread over two file systems, each with $TMPDIR on the other one. A failure is a row of the
table and ends nothing. A section is a function of (n, draw) that returns rows; `SECTIONS` lists them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import sr_lightning.build
import sr_lightning.callbacks
import sr_lightning.loggers
import sr_lightning.run_info  # noqa: F401  # what a run imports, before it is forked
from sr_lightning.callbacks.continuation import _random_state
from sr_lightning.checkpoint import SafeCheckpointIO
from sr_lightning.decoding import decode
from sr_lightning.models import EDSR
from sr_lightning.seal import DamagedError, find_kept, read_seal
from sr_lightning.train import main as train

TESTS = Path(__file__).parents[1] / "tests"
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
    ok: bool | None
    """None: it was not run, or belongs to what is not built."""
    id: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    """For the figures at the end, which are sums over rows."""


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


@dataclass
class Outcome:
    """Of one run that was stopped and continued until it was done."""

    stops: int = 0
    unreadable: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def told(self) -> list[str]:
        """Everything that is not as it should be."""
        return [*self.unreadable, *self.left, *self.wrong]


Stop = Callable[[int, Path], None]


def stopped_until_done(name: str, folder: str, n: int, stop: Stop) -> Outcome:
    """Begins a run, lets `stop` end it up to n times, and continues it to its end."""
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
        if found.stops < n:
            stop(child, folder)
        status = finish(child)
        found.unreadable += unreadable(folder / "checkpoints")
        if status == 0:
            break
        found.stops += 1
        if found.stops > n:
            found.wrong.append(f"status {status}")
            return
        if (folder / ".hydra/config.yaml").exists():  # else nothing has begun
            arguments = [*RUN[:2], f"ckpt_path={folder}"]
    found.left = [path.name for path in folder.rglob("*.part")]
    found.wrong += differences(f"straight {name}", str(folder))


def unreadable(checkpoints: Path) -> list[str]:
    """Files under a final name that are not whole."""
    found = [f"{path.name} {reason}" for path, reason in find_kept(checkpoints).damaged.items()]
    try:
        if (best := checkpoints / "best.ckpt").is_file() and read_seal(best) is None:
            found.append("best.ckpt has no seal")
    except DamagedError as error:
        found.append(f"best.ckpt {error.reason}")
    return found


def row_of(fault: str, expected: str, what: str, outcomes: list[Outcome], more: str = "") -> Row:
    """Many runs in one row."""
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


def kills(n: int, draw: random.Random) -> list[Row]:
    """SIGKILL at uniformly random moments, over two file systems, with 0 and 2 workers."""
    rows = []
    for number, name in enumerate(SETTINGS):
        seconds, share = straight(name), n // len(SETTINGS) + (number < n % len(SETTINGS))
        outcomes: list[Outcome] = []

        def stop(child: int, folder: Path, seconds: float = seconds) -> None:
            time.sleep(draw.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)

        while (made := sum(outcome.stops for outcome in outcomes)) < share and len(outcomes) < 2 * share:
            most = min(share - made, draw.randint(1, 5))
            outcomes.append(stopped_until_done(name, f"killed {name} {len(outcomes)}", most, stop))
            lost = sum(bool(outcome.told) for outcome in outcomes)
            progress(f"{os.getcwd()}: {name}: {made + outcomes[-1].stops} of {share} kills, {lost} runs lost")
        rows.append(row_of(f"SIGKILL, {name}, in {Path.cwd().parent}", EQUAL, "kills", outcomes))
    return rows


def stops(n: int, draw: random.Random) -> list[Row]:
    """Runs that are stopped two to five times, by one signal or another."""
    rows = []
    for number, name in enumerate(SETTINGS):
        straight(name)
        outcomes = []
        for i in range(n // len(SETTINGS) + (number < n % len(SETTINGS))):

            def stop(child: int, folder: Path) -> None:
                wait_for_rows(child, folder, draw.randint(1, 12))
                os.kill(child, draw.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]))

            outcomes.append(stopped_until_done(name, f"often {name} {i}", draw.randint(2, 5), stop))
            progress(f"{name}: run {i + 1}, {outcomes[-1].stops} stops, {outcomes[-1].told or 'equal'}")
        if outcomes:
            rows.append(row_of(f"2 to 5 stops, {name}", EQUAL, "stops", outcomes))
    return rows


def wait_for_rows(child: int, folder: Path, more: int) -> None:
    """Until so many more rows are logged than when it began to log, or the process has ended."""
    path, least = folder / "metrics.csv", None
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if path.exists() and Path("said.txt").exists():
            count = path.read_text().count("\n")
            least = count if least is None else min(least, count)  # what is run again is cut off first
            if count >= least + more:
                return
        time.sleep(0.002)


def signals(n: int, draw: random.Random) -> list[Row]:
    """SIGTERM, SIGINT and SIGUSR1 at random moments of the training."""
    rows, name = [], "plain"
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
            seal = find_kept(folder / "checkpoints").seal
            outcome.wrong += [] if seal and seal.step >= at - 12 else ["no checkpoint of the step"]
            outcome.wrong += [] if finish(begin([*RUN[:2], f"ckpt_path={folder}"])) == 0 else ["not continued"]
            outcome.wrong += differences(f"straight {name}", str(folder))
            outcomes.append(outcome)
        expected = f"status {128 + number} within 10 s, continued run bit-equal"
        row = row_of(number.name, expected, "signals", outcomes, f", slowest {slowest:.1f} s")
        row.ok = row.ok and slowest <= 10
        rows.append(row)
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
    return [
        Row(f"{n} {kind}", f"{n} found", f"{n - count} found", count == 0, counts={"damaged": n, "found": n - count})
        for kind, count in missed.items()
    ]


# -- what it costs -----------------------------------------------------------------------------------


def cost(n: int, draw: random.Random) -> list[Row]:
    """Saving against a plain `torch.save`, decoding against plain Pillow, a step's checks against the step."""
    repeats = max(n, 15)
    return [*_cost_of_saving(repeats), _cost_of_decoding(repeats), _cost_of_a_step(repeats)]


def medians(repeats: int, **calls: Callable[[], Any]) -> dict[str, float]:
    """Milliseconds of each, measured in turn, so that what else the machine does meets all."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            taken[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(times) for name, times in taken.items()}


@contextmanager
def without_fsync() -> Iterator[None]:
    real, os.fsync = os.fsync, lambda _: None
    try:
        yield
    finally:
        os.fsync = real


def _cost_of_saving(repeats: int) -> list[Row]:
    draw = torch.Generator().manual_seed(0)
    parts = {f"layer{i}": torch.rand(64, 64, 3, 3, generator=draw) for i in range(41)}  # EDSR-baseline with Adam's
    content = {"state_dict": parts, "optimizer_states": [{"exp_avg": parts, "exp_avg_sq": dict(parts)}]}
    content["optimizer_states"] = [{key: {k: v.clone() for k, v in parts.items()} for key in ("m", "v")}]
    content |= {"global_step": 1, "sr_lightning": {"format": 1, "config": {"a": 1}}}
    ours, plain = SafeCheckpointIO(), Path("plain.ckpt")

    def plain_and_fsync() -> None:
        with plain.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())

    def ours_without() -> None:
        with without_fsync():
            ours.save_checkpoint(content, "ours/last.ckpt")

    found = medians(
        repeats,
        plain=lambda: torch.save(content, plain),
        plain_and_fsync=plain_and_fsync,
        ours=lambda: ours.save_checkpoint(content, "ours/last.ckpt"),
        ours_without=ours_without,
    )
    size = plain.stat().st_size / 1e6
    rows = []
    for what, a, b in (("", "ours", "plain"), (", both with fsync", "ours", "plain_and_fsync")):
        ratio = found[a] / found[b]
        seen = f"{found[a]:.1f} ms, torch.save {found[b]:.1f} ms: {ratio:.2f} x"
        rows.append(Row(f"saving {size:.0f} MB{what}", "at most 1.2 x torch.save", seen, ratio <= 1.2))
    ratio = found["ours_without"] / found["plain"]
    seen = f"{found['ours_without']:.1f} ms, torch.save {found['plain']:.1f} ms: {ratio:.2f} x"
    rows.append(Row(f"saving {size:.0f} MB, both without fsync", "at most 1.2 x torch.save", seen, ratio <= 1.2))
    return rows


def _cost_of_decoding(repeats: int) -> Row:
    waves = np.cumsum(np.random.default_rng(0).normal(0, 6, (480, 640, 3)), axis=1) + 128
    for kind in ("png", "jpg"):
        Image.fromarray(waves.clip(0, 255).astype(np.uint8)).save(f"photograph.{kind}")

    def plain() -> None:
        for kind in ("png", "jpg"):
            with Image.open(f"photograph.{kind}") as image:
                np.ascontiguousarray(image.convert("RGB"))

    found = medians(repeats, plain=plain, ours=lambda: [decode(f"photograph.{kind}") for kind in ("png", "jpg")])
    ratio = found["ours"] / found["plain"]
    seen = f"{found['ours']:.2f} ms, plain Pillow {found['plain']:.2f} ms: {100 * (ratio - 1):+.1f} %"
    return Row("decoding a PNG and a JPEG of 640x480", "at most 2 % slower than without a check", seen, ratio <= 1.02)


def _cost_of_a_step(repeats: int) -> Row:
    net = EDSR(4, n_feats=16, n_resblocks=4)
    lr, hr = torch.rand(16, 3, 32, 32), torch.rand(16, 3, 128, 128)

    def step() -> None:
        net.zero_grad()
        torch.nn.functional.l1_loss(net(lr), hr).backward()

    def checks() -> None:  # what `NonFiniteGuard` and `Continuation` do
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        bool(torch.isfinite(torch.nn.utils.get_total_norm(gradients)))
        bool(torch.isfinite(torch.zeros(())))
        _random_state()

    step()
    found = medians(repeats, step=step, checks=checks)
    share = 100 * found["checks"] / found["step"]
    seen = f"{found['checks']:.2f} ms of {found['step']:.1f} ms: {share:.1f} %"
    return Row("a step's checks: loss, gradients, random state", "at most 2 % of a step", seen, share <= 2)


# -- the matrix --------------------------------------------------------------------------------------


def matrix(n: int, draw: random.Random) -> list[Row]:
    """Every id of the fault matrix, by the tests that are marked with it; nothing is drawn."""
    sys.path.insert(0, str(TESTS))
    import pytest
    from fault_matrix import MATRIX, NOT_BUILT, Scoreboard, order

    board = Scoreboard()
    quiet = ["-q", "--no-header", "-p", "no:cacheprovider", "--tb=line", "-m", "fault and not slow"]
    pytest.main([str(TESTS), f"--rootdir={TESTS.parent}", f"-c={TESTS.parent / 'pyproject.toml'}", *quiet], [board])
    rows = []
    for case in sorted(board.cases.values(), key=lambda case: order(case.id)):
        kind = {"S1": "malicious", "S2": "malicious configs"}.get(case.id, "faults")
        counts = {} if case.ok is None else {"faults": 1, "survived": int(case.ok)}
        counts |= {kind: 1, f"{kind} refused": int(bool(case.ok))} if kind != "faults" and counts else {}
        rows.append(Row(case.fault, case.expected, case.seen, case.ok, case.id, counts))
    rows += [
        Row(MATRIX[id_], "a test", "there is none", False, id_, {"faults": 1, "survived": 0}) for id_ in board.missing
    ]
    rows += [Row(MATRIX[id_], "", f"belongs to {command}, not built", None, id_) for id_, command in NOT_BUILT.items()]
    return sorted(rows, key=lambda row: order(row.id))


SECTIONS: dict[str, Section] = {
    "kills": kills,
    "stops": stops,
    "signals": signals,
    "flips": flips,
    "cost": cost,
    "matrix": matrix,  # last: after it there are threads, and forks of this process would not do
}


# -- the scoreboard ----------------------------------------------------------------------------------


def places(chosen: list[Path] | None) -> list[tuple[Path, Path]]:
    """Where runs lie and where $TMPDIR does: two folders, each beside the other, where they are two file systems."""
    pair = chosen or [Path(tempfile.gettempdir()), Path("/dev/shm")]
    if chosen is None and not (pair[1].is_dir() and os.access(pair[1], os.W_OK)):
        return [(pair[0], pair[0])]
    one, other = (path.absolute() for path in pair)
    if chosen is None and one.stat().st_dev == other.stat().st_dev:
        return [(one, one)]
    return [(one, other), (other, one)]


def run_section(name: str, n: int, seed: int, where: list[tuple[Path, Path]]) -> list[Row]:
    """In an empty folder; kills on one file system after the other."""
    if name == "matrix":
        return matrix(n, random.Random(seed))
    rows: list[Row] = []
    used = where if name == "kills" else where[:1]
    for number, (place, temporary) in enumerate(used):
        share = n // len(used) + (number < n % len(used))
        with tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True) as folder:
            os.environ["TMPDIR"], tempfile.tempdir = str(temporary), None
            os.chdir(folder)
            surroundings()
            try:
                rows += SECTIONS[name](share, random.Random(seed + number))
            except Exception as error:
                traceback.print_exc()
                rows.append(Row(f"{name} in {place}", "", f"{type(error).__name__}: {error}", False))
            os.chdir("/")
    return rows


def grouped(rows: list[Row]) -> list[Row]:
    """Variants of one test in one line."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        fault = row.fault.partition(" [")[0] if row.id else row.fault
        groups.setdefault((row.id, fault), []).append(row)
    lines = []
    for (id_, fault), members in groups.items():
        bad = [row for row in members if row.ok is False]
        skipped = [row for row in members if row.ok is None]
        seen = members[0].seen if len(members) == 1 else f"{len(members) - len(bad) - len(skipped)} of {len(members)}"
        first = (bad or skipped or members)[0]
        seen = f"{seen}: {first.fault}: {first.seen}" if len(members) > 1 and (bad or skipped) else seen
        lines.append(Row(fault, first.expected, seen, first.ok, id_))
    return lines


def figures(rows: list[Row]) -> dict[str, int]:
    """Sums over all rows."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.counts)
    return dict(total)


SENTENCES = {
    "survived": "faults survived: {survived} of {faults}",
    "kills": "kills: {kills}; unreadable checkpoints: {unreadable}; files left over: {left over}",
    "bit-equal": "resumed = uninterrupted: {bit-equal} of {stopped runs} runs",
    "malicious": "malicious files refused, none executed: {malicious refused} of {malicious}",
    "malicious configs": "malicious configs refused, none executed: {malicious configs refused} of {malicious configs}",
    "found": "damaged checkpoints found: {found} of {damaged}",
}


def show(rows: list[Row]) -> None:
    """The table, and the figures below it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("id", "fault", "expected", "seen", ""):
        table.add_column(column, overflow="fold")
    for row in grouped(rows):
        state = {True: "ok", False: "LOST", None: "-"}[row.ok]
        table.add_row(*(escape(text) for text in (row.id, row.fault, row.expected, row.seen, state)))
    Console().print(table)
    total = figures(rows)
    for key, sentence in SENTENCES.items():
        if key in total:
            print(sentence.format(**total))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="section", help=f"of {', '.join(SECTIONS)}; none: all")
    parser.add_argument("--n", type=int, default=12, help="faults of each section")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None, help="also write the rows as JSON")
    help_ = "on two file systems, for kills; default: the temporary folder and /dev/shm, if they differ"
    parser.add_argument("--folders", type=Path, nargs=2, default=None, help=help_)
    given = parser.parse_args()
    if unknown := set(given.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    torch.set_num_threads(1)
    out, where = given.out and given.out.absolute(), places(given.folders)
    rows: list[Row] = []
    for name in (section for section in SECTIONS if not given.sections or section in given.sections):
        started = time.monotonic()
        rows += run_section(name, given.n, given.seed, where)
        progress(f"{name}: {time.monotonic() - started:.0f} s")
        if out:  # after each, so that a long count that is ended leaves what it has
            document = {
                "seed": given.seed,
                "n": given.n,
                "figures": figures(rows),
                "rows": [asdict(row) for row in rows],
            }
            out.write_text(json.dumps(document, indent=1))
    show(rows)
    return 0 if all(row.ok is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
