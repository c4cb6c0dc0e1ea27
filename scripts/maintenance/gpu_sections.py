"""Sections of `gpu_programme.py`, each run in a process of its own.

    python scripts/maintenance/gpu_sections.py training --device cuda --part part.json

is how the programme calls one. The file is rewritten after each measurement, so that a section that is ended early
leaves its results so far. The measurements are those of scripts/benchmarks.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpu_findings import ROOT, Findings
from gpu_speed import profile, training, upscaling, waiting


def environment(found: Findings) -> None:
    """Records device, driver and versions, but nothing that identifies the machine or its user."""
    import benchmarking
    import torch

    facts = benchmarking.machine(torch.device(found.device))
    facts.pop("command")  # its arguments name files of the user
    facts["shared_memory_gb"] = round(_free("/dev/shm") / 1e9, 1)
    if found.device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {
            "capability": f"{properties.major}.{properties.minor}",
            "memory_gb": round(properties.total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "bf16": torch.cuda.is_bf16_supported(including_emulation=False),
            "tf32_convolutions": torch.backends.cudnn.conv.fp32_precision == "tf32",
            **_driver(),
        }
    found.details["facts"] = facts
    versions = facts.pop("versions")
    for name, value in (facts | versions).items():
        found.add(name, value if isinstance(value, str | int | float | None) else str(value))
    facts["versions"] = versions
    found.write()


def _free(folder: str) -> int:
    try:
        found = os.statvfs(folder)
    except (OSError, AttributeError):
        return 0
    return found.f_bavail * found.f_frsize


def _driver() -> dict[str, str]:
    asked = ("driver_version", "power.limit", "clocks.max.sm")
    command = ["nvidia-smi", f"--query-gpu={','.join(asked)}", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {"driver_version": "unknown: no nvidia-smi"}
    return dict(zip(asked, map(str.strip, said.splitlines()[0].split(",")), strict=False))


class Outcomes:
    """Pytest plugin that collects counts, failures by name, and measurements recorded by tests."""

    def __init__(self, found: Findings) -> None:
        self.found = found
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.failures: dict[str, str] = {}
        self.recorded: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        found.details |= {"counts": self.counts, "failures": self.failures, "recorded": self.recorded}
        found.details["seconds"] = self.seconds

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Called before each test."""
        self.found.begin(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called after each phase of each test."""
        if report.when == "call" or report.outcome != "passed":
            self.counts[report.outcome] += 1
            self.seconds[report.nodeid] = round(report.duration, 1)
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.failures[report.nodeid] = str(crash.message if crash else report.longrepr).splitlines()[0][:300]
        if report.when == "call" and report.user_properties:
            self.recorded[report.nodeid] = dict(report.user_properties)
        self.note()

    def pytest_collectreport(self, report: Any) -> None:
        """Records files that cannot be imported."""
        if report.failed:
            self.failures[report.nodeid] = str(report.longrepr).strip().splitlines()[-1][:300]
            self.counts["failed"] += 1
            self.note()

    def note(self) -> None:
        """Writes the results so far."""
        self.found.figures.clear()
        for outcome, number in self.counts.items():
            self.found.add(outcome, number, "tests", goal="< 1" if outcome == "failed" else None)
        for name, message in self.failures.items():
            self.found.add(name.rpartition("/")[2], message)


def tests(found: Findings) -> None:
    """Runs the tests marked `gpu`; warnings from other library versions are not failures."""
    import pytest

    os.environ["SR_TEST_DEVICE"] = found.device
    files = [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text()]
    options = ["-m", "gpu", "-q", "-W", "default", "-o", "addopts=", "-p", "no:cacheprovider"]
    options += ["--continue-on-collection-errors", *(["-k", "not compiled"] if found.is_small else [])]
    pytest.main([*options, *files], plugins=[Outcomes(found)])


SECTIONS: dict[str, Callable[[Findings], None]] = {
    one.__name__: one for one in (environment, tests, training, waiting, upscaling, profile)
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--part", type=Path, required=True, help="the file that takes what is found")
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args(argv)
    if given.section not in ("environment", "tests"):
        from sr_lightning.config.conf_files import register_resolvers
        from sr_lightning.runs.environment import quiet

        quiet()
        register_resolvers()
        warnings.simplefilter("ignore")
    SECTIONS[given.section](Findings(given.part, given.device, given.small))


if __name__ == "__main__":
    main()
