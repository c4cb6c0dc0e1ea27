"""Losses when runs are killed, stopped and damaged, as a table and as JSON.

    python scripts/benchmarks/bench_faults.py matrix                   # every ID of the fault matrix, by its tests
    python scripts/benchmarks/bench_faults.py kills --n 1000 --out kills.json
    python scripts/benchmarks/bench_faults.py stops --n 50             # runs stopped two to five times
    python scripts/benchmarks/bench_faults.py starts --n 20            # kills while Hydra writes its files
    python scripts/benchmarks/bench_faults.py signals --n 6
    python scripts/benchmarks/bench_faults.py flips --n 200
    python scripts/benchmarks/bench_faults.py cost                     # cost of saving and checking
    python scripts/benchmarks/bench_faults.py --out faults.json        # all sections

Everything is imported once; each run is a fork of this process, so a killed run costs only a second. The times of
the kills and the flipped bits are drawn with --seed. A stopped run is resumed until it is done, and then compared with
an uninterrupted one: weights, their average, optimizer moments, schedule, random state, samples, best checkpoint, every
logged value. Faults are spread over two file systems, each with $TMPDIR on the other. A failure becomes a row of the
table and does not end the benchmark. A section is a function of (n, draw) that returns rows; `SECTIONS` lists them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from fault_cost import cost
from fault_runs import Row, flips, kills, progress, signals, starts, stops, surroundings
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

TESTS = Path(__file__).parents[2] / "tests"
Section = Callable[[int, random.Random], Iterable[Row]]


# -- the matrix --------------------------------------------------------------------------------------


def matrix(n: int, draw: random.Random) -> list[Row]:
    """Runs the tests marked with each ID of the fault matrix; nothing is random."""
    sys.path.insert(0, str(TESTS / "faults"))
    import pytest
    from fault_matrix import MATRIX, Case, Scoreboard, order

    board = Scoreboard()
    quiet = ["-q", "--no-header", "-p", "no:cacheprovider", "--tb=line", "-m", "fault and not slow"]
    quiet += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # some plugins have already been imported
    pytest.main([str(TESTS), f"--rootdir={TESTS.parent}", f"-c={TESTS.parent / 'pyproject.toml'}", *quiet], [board])
    cases = [
        *board.cases.values(),
        *(Case(id_, MATRIX[id_], "a test", "there is none", False) for id_ in board.missing),
    ]
    rows = [Row(case.fault, case.expected, case.seen, case.ok, case.id, case.seconds, counts(case)) for case in cases]
    return sorted(rows, key=lambda row: order(row.id))


def counts(case: Any) -> dict[str, int]:
    """Returns the counts contributed by one case."""
    if case.ok is None:
        return {}
    what = {"S1": "malicious", "S2": "malicious configs"}.get(case.id)
    own = {what: 1, f"{what} refused": int(case.ok)} if what else {}
    return {"faults": 1, "survived": int(case.ok), **own}


SECTIONS: dict[str, Section] = {
    "kills": kills,
    "starts": starts,
    "stops": stops,
    "signals": signals,
    "flips": flips,
    "cost": cost,
    "matrix": matrix,  # last: it leaves threads behind, after which this process must not be forked
}


# -- the scoreboard ----------------------------------------------------------------------------------


def places(chosen: list[Path] | None) -> list[tuple[Path, Path]]:
    """Returns pairs of run location and $TMPDIR: two folders in both orders if they are on different file systems."""
    pair = chosen or [Path(tempfile.gettempdir()), Path("/dev/shm")]
    if chosen is None and not (pair[1].is_dir() and os.access(pair[1], os.W_OK)):
        return [(pair[0], pair[0])]
    one, other = (path.absolute() for path in pair)
    if chosen is None and one.stat().st_dev == other.stat().st_dev:
        return [(one, one)]
    return [(one, other), (other, one)]


def run_section(name: str, n: int, seed: int, where: list[tuple[Path, Path]]) -> Iterator[Row]:
    """Runs a section in empty folders, with half of the faults on each of the two file systems."""
    if name == "matrix":
        yield from matrix(n, random.Random(seed))
        return
    for number, (place, temporary) in enumerate(where):
        share = n // len(where) + (number < n % len(where))
        folder, rows = tempfile.mkdtemp(prefix=f"faults_{name}_", dir=place), []
        os.environ["TMPDIR"], tempfile.tempdir = str(temporary), None
        os.chdir(folder)
        surroundings()
        try:
            for row in SECTIONS[name](share, random.Random(seed + number)):
                rows.append(row)
                yield row
        except Exception as error:
            traceback.print_exc()
            rows.append(Row(f"{name} in {place}", "", f"{type(error).__name__}: {error}", False))
            yield rows[-1]
        os.chdir("/")
        if any(row.ok is False for row in rows):
            progress(f"{name}: {folder} is kept, with the runs that went wrong")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def grouped(rows: list[Row]) -> list[Row]:
    """Merges variants of one test into one row."""
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
    """Sums the counts over all rows."""
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
    """Prints the table and the totals below it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("id", "fault", "expected", "seen", ""):
        table.add_column(column, overflow="fold")
    for row in grouped(rows):
        state = {True: "ok", False: "NO", None: "-"}[row.ok]
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
    help_ = "on two file systems; default: the temporary folder and /dev/shm, if they differ"
    parser.add_argument("--folders", type=Path, nargs=2, default=None, help=help_)
    given = parser.parse_args()
    if unknown := set(given.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    torch.set_num_threads(1)
    out, where = given.out and given.out.absolute(), places(given.folders)
    rows: list[Row] = []
    for name in (section for section in SECTIONS if not given.sections or section in given.sections):
        started = time.monotonic()
        for row in run_section(name, given.n, given.seed, where):
            rows.append(row)
            if out:  # after each row, so that a long count leaves its results if it is stopped
                written = {"seed": given.seed, "n": given.n, "figures": figures(rows), "rows": list(map(asdict, rows))}
                out.write_text(json.dumps(written, indent=1))
        progress(f"{name}: {time.monotonic() - started:.0f} s")
    show(rows)
    return 0 if all(row.ok is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
