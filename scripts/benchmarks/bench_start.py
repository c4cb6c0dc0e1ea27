"""Time until commands print their first line, finish, or complete the first training step.

    python scripts/benchmarks/bench_start.py                           # all cases, five rounds
    python scripts/benchmarks/bench_start.py train evaluate --rounds 3 --out start.json

Each command line is run as by a user: in its own process, on its own terminal, in an empty folder. Each round runs
every command once, so that other load on the machine affects all alike. `train` ends after its first step.
"less imports" subtracts the time of a process with a bare `import lightning.pytorch` (or torch) in the same round.
Whether Python finds compiled modules affects times by a factor of two, so the table states it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import pty
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

MARKS = "BENCH_START_MARKS"
CALLBACK = '''
import os, signal, time
from lightning.pytorch import Callback

class Mark(Callback):
    """Notes when it is built, when training starts and when a step is done; then it stops the run."""
    def __init__(self):
        self.mark("built")

    def mark(self, name):
        with open(os.environ["BENCH_START_MARKS"], "a") as file:
            print(name, time.time(), file=file)

    def on_train_start(self, trainer, module):
        self.mark("starts")

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.mark("step")
        os.kill(os.getpid(), signal.SIGTERM)
'''
TRAIN = ("-m", "sr_lightning.train", "+callbacks.mark._target_=bench_start_mark.Mark")


@dataclass(frozen=True)
class Case:
    """A command line to time."""

    arguments: tuple[str, ...]
    without: str | None = None
    """The bare import whose time is subtracted."""
    keeps: bool = False
    """Whether images decoded in an earlier round are kept."""
    status: tuple[int, ...] = (0,)


CASES = {
    "import torch": Case(("-c", "import torch")),
    "import lightning": Case(("-c", "import lightning.pytorch")),
    "help": Case(("-m", "sr_lightning.train", "--help")),
    "cfg": Case(("-m", "sr_lightning.train", "--cfg", "job")),
    "mistake": Case(("-m", "sr_lightning.train", "loss.bta=1"), status=(2,)),
    "download": Case(("-m", "sr_lightning.download")),
    "check_data": Case(("-m", "sr_lightning.check_data"), "import torch"),
    "evaluate": Case(("-m", "sr_lightning.evaluate", "model=bicubic", "scale=4", "data=sample"), "import torch"),
    "preview": Case(("-m", "sr_lightning.preview"), "import lightning"),
    "train": Case(TRAIN, "import lightning", status=(143,)),
    "train again": Case(TRAIN, "import lightning", keeps=True, status=(143,)),
    "train logger=csv": Case((*TRAIN, "logger=csv"), "import lightning", keeps=True, status=(143,)),
}


@dataclass
class Times:
    """Seconds from the start of the process; one entry per round."""

    said: list[float] = field(default_factory=list)
    """Time of the first line on the screen."""
    done: list[float] = field(default_factory=list)
    """Time of the end, or of the first training step."""
    marks: list[dict[str, float]] = field(default_factory=list)


def run(case: Case, folder: Path, cache: Path, times: Times) -> None:
    """Runs a command line once and records its times."""
    folder.mkdir()
    marks = folder / "marks"
    surroundings = os.environ | {MARKS: str(marks), "SR_CACHE": str(cache), "WANDB_MODE": "offline"}
    surroundings["PYTHONPATH"] = os.pathsep.join([str(cache.parent), os.environ.get("PYTHONPATH", "")])
    ours, theirs = pty.openpty()  # a terminal, so that output is unbuffered and progress is drawn
    begun = time.time()
    process = subprocess.Popen(
        [sys.executable, *case.arguments], cwd=folder, env=surroundings, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    screen, said = b"", None
    while chunk := read(ours):
        screen += chunk
        if said is None and screen.strip():
            said = time.time() - begun
    os.close(ours)
    status, ended = process.wait(), time.time() - begun
    if status not in case.status:
        sys.exit(f"{' '.join(case.arguments)} ended with status {status}:\n{screen.decode(errors='replace')}")
    found = {}
    if marks.is_file():
        found = {name: float(at) - begun for name, at in map(str.split, marks.read_text().splitlines())}
    times.said.append(ended if said is None else said)
    times.done.append(found.get("step", ended))
    times.marks.append(found)


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # raised by Linux when the other end is closed
        return b""


def rounds(names: list[str], n: int, folder: Path) -> dict[str, Times]:
    (folder / "bench_start_mark.py").write_text(CALLBACK)
    times = {name: Times() for name in names}
    for i in range(n):
        for number, name in enumerate(names):
            case = CASES[name]
            cache = folder / ("kept" if case.keeps else f"cache {i}.{number}")
            if case.keeps and not cache.exists():
                run(case, folder / f"first {number}", cache, Times())
            run(case, folder / f"{i}.{number}", cache, times[name])
        print(f"round {i + 1} of {n}", file=sys.stderr, flush=True)
    return times


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.1f} - {max(values):.1f})" if values else ""


def less_imports(case: Case, own: Times, times: dict[str, Times]) -> list[float]:
    bare = times.get(case.without or "")
    return [a - b for a, b in zip(own.done, bare.done, strict=True)] if bare else []


def table(times: dict[str, Times]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in ("seconds", "first line", "end, or first step", "less imports"):
        shown.add_column(column, justify="left" if column == "seconds" else "right")
    for name, own in times.items():
        is_import = name.startswith("import")
        cells = ["" if is_import else spread(own.said), spread(own.done), spread(less_imports(CASES[name], own, times))]
        shown.add_row(name, *cells)
    return shown


def machine() -> dict[str, Any]:
    spec = importlib.util.find_spec("lightning")
    compiled = bool(spec and spec.cached and Path(spec.cached).is_file())
    otherwise = "not compiled, and not to be kept" if sys.dont_write_bytecode else "compiled by these runs"
    return {
        "cpu": f"{os.cpu_count()} x {platform.machine()}",
        "load": os.getloadavg()[0],
        "modules": "compiled" if compiled else otherwise,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "lightning", "hydra-core", "wandb")},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(CASES)}; none: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None, help="also write the times as JSON")
    given = parser.parse_args()
    if unknown := set(given.cases) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    names = given.cases or list(CASES)
    names = [bare for bare in ("import torch", "import lightning") if bare not in names] + names
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        times = rounds(names, given.rounds, Path(folder))
    facts = machine()
    Console().print(table(times))
    print(f"median (least - most) of {given.rounds} rounds; {facts['cpu']}, load {facts['load']:.1f}")
    print(", ".join(f"{name} {number}" for name, number in facts["versions"].items()))
    print(f"modules: {facts['modules']}")
    if given.out:
        plain = {name: {"said": own.said, "done": own.done, "marks": own.marks} for name, own in times.items()}
        given.out.write_text(json.dumps({"machine": facts, "seconds": plain}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
