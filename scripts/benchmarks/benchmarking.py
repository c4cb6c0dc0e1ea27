"""Shared parts of the benchmarks: interleaved runs, ratios, machine description, table and JSON output.

Contenders run in turn, A B C A B C …, in one process: if the machine slows down, all are affected, and ratios are
computed within a round. The first method of a case is ours; the column `ours is` of the others gives its factor of
improvement.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from sr_lightning.runs.environment import environment

_T = TypeVar("_T")


@dataclass
class Row:
    """One measurement of one method, with a value per round."""

    case: str
    """What is measured; the rows of a case are compared with each other."""
    method: str
    unit: str
    values: list[float]
    higher_is_better: bool = True
    ratios: list[float] = field(default_factory=list)
    """Factor by which ours is better than this row, per round; empty for ours."""


@dataclass
class Report:
    """Rows by section, and notes about them."""

    sections: dict[str, list[Row]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, section: str, rows: Sequence[Row]) -> None:
        """Adds the rows of one case; the first is ours."""
        for row in rows[1:]:
            if row.unit == rows[0].unit and len(row.values) == len(rows[0].values):
                pairs = zip(rows[0].values, row.values, strict=True)
                row.ratios = [_ratio(ours, other, row.higher_is_better) for ours, other in pairs]
        self.sections.setdefault(section, []).extend(rows)

    def note(self, text: str) -> None:
        """Adds a sentence below the tables, once."""
        if text not in self.notes:
            self.notes.append(text)


def _ratio(ours: float, other: float, higher_is_better: bool) -> float:
    better, worse = (ours, other) if higher_is_better else (other, ours)
    return better / worse if worse else float("inf")


def take_turns(contenders: Mapping[str, Callable[[], _T]], rounds: int) -> dict[str, list[_T]]:
    """Runs each contender once per round, and returns the results by name."""
    found: dict[str, list[_T]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            found[name].append(run())
    return found


def machine(device: torch.device) -> dict[str, Any]:
    """Describes hardware and versions, without anything that identifies the machine or its user."""
    facts = environment(" ".join(["python", *(Path(sys.argv[0]).name, *sys.argv[1:])]))
    for name in ("opencv-python-headless", "opencv-python", "basicsr", "scikit-image"):
        try:
            facts["versions"][name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return facts | {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "system": f"{platform.system()} {platform.machine()}",
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def optional(name: str) -> ModuleType | None:
    """Returns a package to compare with, or None if it is not importable.

    BasicSR 1.4.2 imports a module removed in torchvision 0.17; the function that it needs has moved.
    """
    if name.startswith("basicsr"):
        from torchvision.transforms import functional

        sys.modules.setdefault("torchvision.transforms.functional_tensor", functional)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError:
        return None


def processes() -> list[int]:
    """Returns the IDs of this process and its living children."""
    own = os.getpid()
    found = [own]
    for task in Path(f"/proc/{own}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def cpu_seconds() -> float:
    """Returns the processor seconds used by this process and its living children, including data-loader workers."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = time.process_time()
    for pid in processes()[1:]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / ticks  # utime and stime
    return total


def parser(description: str | None, sections: Sequence[str]) -> argparse.ArgumentParser:
    """Returns a parser with the arguments common to all benchmarks."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("sections", nargs="*", metavar="section", help=f"of {', '.join(sections)}; none: all")
    made.add_argument("--quick", action="store_true", help="under a minute, and less exact")
    made.add_argument("--rounds", type=int, default=None, help="how often each is measured; 5, quick 2")
    made.add_argument("--threads", type=int, default=None, help="of torch; as many as cores")
    made.add_argument("--out", type=Path, default=None, help="also write everything as JSON")
    return made


def parsed(made: argparse.ArgumentParser, sections: Sequence[str], argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses the arguments, filling in those that depend on others."""
    given = made.parse_args(argv)
    if unknown := set(given.sections) - set(sections):
        made.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(sections)}")
    given.sections = given.sections or list(sections)
    given.rounds = given.rounds or (2 if given.quick else 5)
    if given.threads:
        torch.set_num_threads(given.threads)
    if cv2 := optional("cv2"):
        cv2.setNumThreads(torch.get_num_threads())
    return given


def finish(report: Report, device: torch.device, out: Path | None) -> None:
    """Prints the tables and the notes, and writes the file."""
    facts, console = machine(device), Console()
    for section, rows in report.sections.items():
        console.print(_table(section, rows))
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    console.print(
        f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} threads, {facts['device']}; "
        f"Python {facts['python']}, {versions}",
        highlight=False,
    )
    for note in report.notes:
        console.print(note, highlight=False)
    if out is not None:
        sections = {name: [_record(row) for row in rows] for name, rows in report.sections.items()}
        out.write_text(json.dumps({"machine": facts, "sections": sections, "notes": report.notes}, indent=1))


def _table(section: str, rows: Sequence[Row]) -> Table:
    table = Table(title=section, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("")
    for column in ("median", "min", "max", "ours is"):
        table.add_column(column, justify="right")
    table.add_column("unit")
    last = ""
    for row in rows:
        figures = [statistics.median(row.values), min(row.values), max(row.values)]
        ratio = f"{statistics.median(row.ratios):.3g} x" if row.ratios else ""
        case = "" if row.case == last else row.case
        table.add_row(case, row.method, *(f"{value:.4g}" for value in figures), ratio, row.unit)
        last = row.case
    return table


def _record(row: Row) -> dict[str, Any]:
    """Returns a row as written to the file."""
    ratio = statistics.median(row.ratios) if row.ratios else None
    return {
        "case": row.case,
        "method": row.method,
        "unit": row.unit,
        "median": statistics.median(row.values),
        "min": min(row.values),
        "max": max(row.values),
        "ours_is": ratio,
        "ours_is_min": min(row.ratios, default=None),
        "ours_is_max": max(row.ratios, default=None),
        "values": row.values,
    }
