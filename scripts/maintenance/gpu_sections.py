"""Sections of `gpu_programme.py`: what only a GPU can show, each a function that notes its figures as they come.

    python scripts/maintenance/gpu_sections.py training --device cuda --part part.json

is how the programme calls one, in a process of its own. The file is replaced at each figure, so that a section that is
ended early leaves what it has. What is measured is that of scripts/benchmarks.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "benchmarks"))

WARMED = 5  # batches or steps before a clock starts


@dataclass
class Figure:
    """A row of the programme's table."""

    what: str
    value: float | str | None
    unit: str = ""
    beside: str = ""
    """Another figure of the same."""
    goal: str | None = None
    is_met: bool | None = None


@dataclass
class Findings:
    """What a section has found, kept in a file."""

    path: Path
    device: str
    is_small: bool
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def add(
        self, what: str, value: float | str | None, unit: str = "", *, beside: str = "", goal: str | None = None
    ) -> None:
        """A figure; `goal` is `>= 2` or `< 1`."""
        self.figures.append(Figure(what, value, unit, beside, goal, _is_met(value, goal)))
        self.write()

    def begin(self, what: str) -> None:
        """Notes what is done now, in case that it does not come to an end."""
        self.details["now"] = what
        self.write()

    def write(self) -> None:
        """Replaces the file."""
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({"figures": [asdict(one) for one in self.figures], "details": self.details}))
        part.replace(self.path)

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """A failure is a row, and the section goes on."""
        self.begin(what)
        try:
            yield
        except Exception as error:
            self.add(what, _failure(error))

    def choose(self, full: Any, small: Any) -> Any:
        """By the programme's form."""
        return small if self.is_small else full


def _failure(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"failed: {type(error).__name__}: {lines[0] if lines else ''}"[:300]


def _is_met(value: float | str | None, goal: str | None) -> bool | None:
    if goal is None or not isinstance(value, float | int):
        return None
    relation, _, limit = goal.partition(" ")
    return value >= float(limit) if relation == ">=" else value < float(limit)


# -- environment, tests --------------------------------------------------------------------------------


def environment(found: Findings) -> None:
    """Device, driver and versions; nothing that names the machine or its user."""
    import benchmarking
    import torch

    facts = benchmarking.machine(torch.device(found.device))
    facts.pop("command")  # its arguments are files of the user's
    facts["shared_memory_gb"] = round(_free("/dev/shm") / 1e9, 1)
    if found.device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {
            "capability": f"{properties.major}.{properties.minor}",
            "memory_gb": round(properties.total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "bf16": torch.cuda.is_bf16_supported(including_emulation=False),
            "tf32_convolutions": torch.backends.cudnn.allow_tf32,
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
    """Pytest's plugin: counts, failures by name, and figures that tests record."""

    def __init__(self, found: Findings) -> None:
        self.found = found
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.failures: dict[str, str] = {}
        self.recorded: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        found.details |= {"counts": self.counts, "failures": self.failures, "recorded": self.recorded}
        found.details["seconds"] = self.seconds

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Before each test."""
        self.found.begin(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """After each phase of each test."""
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
        """A file that cannot be imported."""
        if report.failed:
            self.failures[report.nodeid] = str(report.longrepr).strip().splitlines()[-1][:300]
            self.counts["failed"] += 1
            self.note()

    def note(self) -> None:
        """The figures so far."""
        self.found.figures.clear()
        for outcome, number in self.counts.items():
            self.found.add(outcome, number, "tests", goal="< 1" if outcome == "failed" else None)
        for name, message in self.failures.items():
            self.found.add(name.rpartition("/")[2], message)


def tests(found: Findings) -> None:
    """Those marked `gpu`; warnings of other versions of the libraries fail none."""
    import pytest

    os.environ["SR_TEST_DEVICE"] = found.device
    files = [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text()]
    options = ["-m", "gpu", "-q", "-W", "default", "-o", "addopts=", "-p", "no:cacheprovider"]
    options += ["--continue-on-collection-errors", *(["-k", "not compiled"] if found.is_small else [])]
    pytest.main([*options, *files], plugins=[Outcomes(found)])


# -- training, waiting, profile --------------------------------------------------------------------------


def _work(found: Findings, folder: Path, *more: str, steps: int, model: str | None = None) -> Any:
    """EDSR-baseline on 16 samples of LR 48x48; in the small form what a CPU does in a moment."""
    from bench_train import Work, composed

    size = found.choose(("data.batch_size=16", "data.patch_size=48"), ("data.batch_size=2", "data.patch_size=16"))
    name = model or found.choose("edsr_baseline", "edsr_tiny")
    trainer = "gpu" if found.device == "cuda" else "cpu"
    return Work(composed(f"model={name}", f"trainer={trainer}", *size, *more, steps=steps), steps, folder)


def training(found: Findings) -> None:
    """A step of ours beside a plain loop in float32 and NCHW: time and peak memory."""
    from functools import partial

    from bench_train import bare, ours

    steps, rounds = found.choose(100, 3), found.choose(3, 1)
    bf16 = "trainer.precision=bf16-mixed"
    with _folder() as folder:
        work = partial(_work, found, folder, steps=steps)
        contenders: dict[str, Callable[[], Any]] = {
            OURS: partial(ours, work(bf16)),
            PLAIN: partial(bare, work(bf16), plain=True),
            "bare loop, bf16": partial(bare, work(bf16)),
            "ours, fp16": partial(ours, work("trainer.precision=16-mixed")),
            "ours, float32": partial(ours, work("trainer.precision=32-true")),
            "ours, bf16, cudnn.benchmark": partial(ours, work(bf16, "+trainer.benchmark=true")),
        }
        turns = [*itertools.chain(*[contenders.items()] * rounds)]
        if not found.is_small:  # a CPU needs minutes to compile
            turns.append(("ours, bf16, compile", partial(ours, work(bf16, "compile=true"))))
        _take_turns(found, turns)


OURS, PLAIN = "ours, bf16", "float32 NCHW loop"


def _take_turns(found: Findings, turns: Sequence[tuple[str, Callable[[], Any]]]) -> None:
    """Runs one after the other, and notes the figures anew after each."""
    import torch
    from bench_train import with_memory

    seen: dict[str, list[tuple[Any, float]]] = {}
    failures: dict[str, str] = {}
    for name, run in turns:
        found.begin(name)
        try:
            seen.setdefault(name, []).append(with_memory(run, torch.device(found.device)))
        except Exception as error:
            failures[name] = _failure(error)
        found.figures.clear()
        for method, values in seen.items():
            if values:
                _note_turns(found, method, values, [timed.wall for timed, _ in seen.get(PLAIN, ())])
        for method, failure in failures.items():
            found.add(method, failure)


def _note_turns(found: Findings, method: str, values: Sequence[tuple[Any, float]], plain: Sequence[float]) -> None:
    found.details[method] = [asdict(timed) | {"peak": _megabytes(memory)} for timed, memory in values]
    walls = [timed.wall for timed, _ in values]
    found.add(method, statistics.median(walls), "ms/step", beside=_megabytes(values[-1][1]))
    if plain and method != PLAIN:
        ratio = statistics.median(other / own for own, other in zip(walls, plain, strict=False))
        goal = ">= 2" if method == OURS and not found.is_small else None
        found.add("  the float32 NCHW loop takes", ratio, "x its time", goal=goal)
    if "compile" in method:
        found.add("  until its first step", values[-1][0].first, "s")


def _megabytes(memory: float) -> str:
    """In words; nothing where the system does not tell."""
    return f"{memory:.0f} MB" if memory == memory else ""


def waiting(found: Findings) -> None:
    """Share of time that training waits for data, and how fast the way of the data is without training."""
    import bench_train
    import benchmarking

    trainer = "trainer=gpu" if found.device == "cuda" else "trainer=cpu"
    size = found.choose(("data.batch_size=16", "data.patch_size=48"), ("data.batch_size=2", "data.patch_size=16"))
    networks = found.choose(["edsr_baseline", "edsr_tiny"], ["edsr_tiny"])
    with _folder() as folder:
        for workers in found.choose((0, 2, 8), (0, 2)):
            with found.attempt(f"{workers} workers"):
                overrides = [trainer, *size, f"data.num_workers={workers}"]
                report, steps = benchmarking.Report(), found.choose(500, 10)
                given = argparse.Namespace(networks=networks, steps=steps, rounds=1, quick=False, set=overrides)
                bench_train.waiting(report, given, folder)
                for row in report.sections["waiting"]:
                    goal = "< 1" if row.method == "waiting" and not found.is_small else None
                    found.add(f"{row.case}, {workers} workers, {row.method}", row.values[-1], row.unit, goal=goal)
                fed = _fed(_work(found, folder, f"data.num_workers={workers}", steps=steps, model="edsr_tiny"))
                found.add(f"data alone, {workers} workers", fed, "steps/s")


def _fed(work: Any) -> float:
    """Batches per second on the device, made and moved there as training gets them."""
    import torch
    from bench_train import same_batches

    def synchronize() -> None:
        if work.device.type == "cuda":
            torch.cuda.synchronize()

    with contextlib.closing(same_batches(work)) as batches:  # type: ignore[type-var]  # it is a generator
        for _ in itertools.islice(batches, WARMED + 3 * work.config.data["num_workers"]):
            pass
        synchronize()
        started = time.perf_counter()
        for _ in itertools.islice(batches, work.steps):
            pass
        synchronize()
        return float(work.steps / (time.perf_counter() - started))


def profile(found: Findings) -> None:
    """The kernels that cost most, and the share of time in which the GPU does nothing."""
    from bench_train import ours
    from gpu_profile import Profiled

    for name in found.choose(("edsr_baseline", "edsr_tiny"), ("edsr_tiny",)):
        steps = found.choose(30, 3)
        with _folder() as folder, found.attempt(name):
            looked = Profiled(first=WARMED, steps=steps, device=found.device)
            ours(_work(found, folder, steps=WARMED + steps, model=name), more=[looked])
            seen = looked.read()
            found.details[name] = asdict(seen)
            found.add(f"{name}, the GPU is idle", 100 * seen.idle if found.device == "cuda" else None, "% of time")
            found.add(f"{name}, a step while profiled", seen.milliseconds, "ms", beside=f"{seen.kernels:.0f} kernels")
            for kernel in seen.costliest:
                found.add(f"  {kernel.name}", 100 * kernel.share, "% of all")


# -- upscaling -----------------------------------------------------------------------------------------


def upscaling(found: Findings) -> None:
    """Output megapixels per second by size, precision and tile, from pixels to pixels and from file to file."""
    import bench_upscale
    import numpy as np
    import torch
    from PIL import Image

    from sr_lightning import load
    from sr_lightning.models import EDSR

    torch.manual_seed(0)
    names = found.choose(["edsr_tiny_y_x4", "edsr_small_y_x4"], ["edsr_tiny_y_x4"])
    networks = {name: load(name) for name in names}
    if not found.is_small:
        networks["edsr_baseline"] = EDSR(4, n_feats=64, n_resblocks=16).eval()
    sizes = found.choose((0.25, 1, 12), (0.05,))
    with _folder() as folder:
        sources = {megapixels: bench_upscale.photograph(megapixels, folder) for megapixels in sizes}
        pixels = {megapixels: np.array(Image.open(path).convert("RGB")) for megapixels, path in sources.items()}
        for (name, net), precision in itertools.product(networks.items(), ("float32", "bf16")):
            case = f"{name}, {precision}"
            for megapixels, lr in pixels.items():
                with found.attempt(f"{case}, {megapixels:g} MP"):
                    _upscaled(found, f"{case}, {megapixels:g} MP", net, lr, precision, "auto")
            for tile in found.choose((256, 512, 1024, 2048), (32, 64)):
                with found.attempt(f"{case}, tiles of {tile}"):
                    _upscaled(found, f"{case}, tiles of {tile}", net, pixels[sizes[-1]], precision, tile)
        for megapixels, source in sources.items():
            with found.attempt(f"file to file, {megapixels:g} MP"):
                name = names[-1]
                wall, _ = bench_upscale.timed(
                    lambda source=source, name=name: bench_upscale.ours(  # type: ignore[misc]  # mypy: a default
                        networks[name], source, folder / "out.png", precision="bf16", device=found.device
                    )
                )
                found.add(f"{name}, JPEG to PNG, {megapixels:g} MP", 16 * megapixels / wall, "MP/s")


def _upscaled(found: Findings, case: str, net: Any, lr: Any, precision: Any, tile: Any) -> None:
    """Once to warm up, then timed."""
    import bench_upscale
    import numpy as np
    import torch
    from bench_train import with_memory

    from sr_lightning.inference.upscaler import Upscaler

    upscaler = Upscaler(net, 4, device=found.device, precision=precision, tile=tile)
    for block in upscaler.rows(lr, np.uint8):  # one row of tiles: the receptive field, the choice of algorithms
        del block
        break
    (wall, _), memory = with_memory(
        lambda: bench_upscale.timed(lambda: sum(len(block) for block in upscaler.rows(lr, np.uint8))),
        torch.device(found.device),
    )
    found.details[case] = {"seconds": wall, "notes": upscaler.notes}
    found.add(case, 16 * lr.shape[0] * lr.shape[1] / 1e6 / wall, "MP/s", beside=_megabytes(memory))


SECTIONS: dict[str, Callable[[Findings], None]] = {
    one.__name__: one for one in (environment, tests, training, waiting, upscaling, profile)
}


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SR_CACHE"] = str(Path(folder, "cache"))
        yield Path(folder)


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
