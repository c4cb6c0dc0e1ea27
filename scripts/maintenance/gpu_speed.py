"""Performance sections of `gpu_programme.py`: training, waiting for data, upscaling, and a profile."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpu_findings import Findings, failure, work_folder

OURS, PLAIN = "ours, bf16", "float32 NCHW loop"
WARMED = 5  # warm-up batches or steps before timing starts


def _work(found: Findings, folder: Path, *more: str, steps: int, model: str | None = None) -> Any:
    """Returns the workload: EDSR-baseline on batches of 16 48x48 LR patches, or in the small form something quick."""
    from bench_train import Work, composed

    size = found.choose(("data.batch_size=16", "data.patch_size=48"), ("data.batch_size=2", "data.patch_size=16"))
    name = model or found.choose("edsr_baseline", "edsr_tiny")
    trainer = "gpu" if found.device == "cuda" else "cpu"
    return Work(composed(f"model={name}", f"trainer={trainer}", *size, *more, steps=steps), steps, folder)


def training(found: Findings) -> None:
    """Compares time and peak memory of our training step with a plain float32 NCHW loop."""
    from functools import partial

    from bench_train import bare, ours

    steps, rounds = found.choose(100, 3), found.choose(3, 1)
    bf16 = "trainer.precision=bf16-mixed"
    with work_folder() as folder:
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


def _take_turns(found: Findings, turns: Sequence[tuple[str, Callable[[], Any]]]) -> None:
    """Runs contenders one after another, updating the results after each."""
    import torch
    from bench_train import with_memory

    seen: dict[str, list[tuple[Any, float]]] = {}
    failures: dict[str, str] = {}
    for name, run in turns:
        found.begin(name)
        benchmark = torch.backends.cudnn.benchmark
        try:
            measured = with_memory(run, torch.device(found.device))
            seen.setdefault(name, []).append(measured)
        except Exception as error:
            failures[name] = failure(error)
        torch.backends.cudnn.benchmark = benchmark  # a Trainer that sets it would affect the others
        found.figures.clear()
        for method, values in seen.items():
            _note_turns(found, method, values, [timed.wall for timed, _ in seen.get(PLAIN, ())])
        for method, message in failures.items():
            found.add(method, message)


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
    """Formats memory; empty if the system does not report it."""
    return f"{memory:.0f} MB" if memory == memory else ""


def waiting(found: Findings) -> None:
    """Measures the share of time that training waits for data, and the throughput of the data path alone."""
    import bench_train
    import benchmarking

    trainer = "trainer=gpu" if found.device == "cuda" else "trainer=cpu"
    size = found.choose(("data.batch_size=16", "data.patch_size=48"), ("data.batch_size=2", "data.patch_size=16"))
    networks = found.choose(["edsr_baseline", "edsr_tiny"], ["edsr_tiny"])
    with work_folder() as folder:
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
    """Returns batches per second, created and moved to the device as in training."""
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
    """Reports the costliest kernels, and the share of time in which the GPU is idle."""
    from bench_train import ours
    from gpu_profile import Profiled

    for name in found.choose(("edsr_baseline", "edsr_tiny"), ("edsr_tiny",)):
        steps = found.choose(30, 3)
        with work_folder() as folder, found.attempt(name):
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
    """Measures output megapixels per second by size, precision and tile, from tensor to tensor and file to file."""
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
    with work_folder() as folder:
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
    """Times upscaling after a warm-up."""
    import bench_upscale
    import numpy as np
    import torch
    from bench_train import with_memory

    from sr_lightning.inference.upscaler import Upscaler

    upscaler = Upscaler(net, 4, device=found.device, precision=precision, tile=tile)
    for block in upscaler.rows(lr, np.uint8):  # one row of tiles, for the receptive field and the choice of algorithms
        del block
        break
    (wall, _), memory = with_memory(
        lambda: bench_upscale.timed(lambda: sum(len(block) for block in upscaler.rows(lr, np.uint8))),
        torch.device(found.device),
    )
    found.details[case] = {"seconds": wall, "notes": upscaler.notes}
    found.add(case, 16 * lr.shape[0] * lr.shape[1] / 1e6 / wall, "MP/s", beside=_megabytes(memory))
