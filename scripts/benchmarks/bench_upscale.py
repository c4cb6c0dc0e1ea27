"""Speed and memory of upscaling a photograph from file to file, compared with the two usual loops.

    python scripts/benchmarks/bench_upscale.py
    python scripts/benchmarks/bench_upscale.py speed --megapixels 0.25 1 --networks edsr_tiny_y_x4 --rounds 3

All methods read the same JPEG file and write a PNG file:

    ours         as in the command: tiles, rows written as they are finished, LR-PSNR computed; in float32 and bfloat16,
                 eager and compiled
    whole image  decoding, the network on the whole image in float32, PNG encoding by Pillow
    tile loop    Real-ESRGAN's: tiles of 400 LR pixels with padding of 10, float32, PNG encoding by Pillow; differs from
                 the whole-image result if the receptive field is larger

    speed   output megapixels per second, and processor seconds (unaffected by other load); decoding and encoding
            separately
    memory  peak resident memory relative to that before the image, each method in a process of its own
"""

from __future__ import annotations

import argparse
import copy
import functools
import multiprocessing
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import benchmarking
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from sr_lightning import load
from sr_lightning.image.color import to_uint8
from sr_lightning.image.encoder import Layout, write_image
from sr_lightning.image.source_image import read_source
from sr_lightning.inference.forward import apply_to_rgb, compile_for_inference
from sr_lightning.inference.upscaler import Precision, Upscaler
from sr_lightning.upscaling.history import Work
from sr_lightning.upscaling.image_job import Writing, upscale_file
from sr_lightning.upscaling.size import Sizing
from sr_lightning.upscaling.sources import Task

Image.MAX_IMAGE_PIXELS = None  # our own 192 MP image is no decompression bomb
SECTIONS = ("speed", "memory")
SCALE = 4
TILE, PAD = 400, 10  # Real-ESRGAN's usual --tile, and its --tile_pad
MOST_WHOLE = 4  # maximum input megapixels for the whole-image loop
Method = Callable[[nn.Module, Path, Path], object]


def ours(
    net: nn.Module,
    source: Path,
    output: Path,
    *,
    precision: Precision,
    device: str = "cpu",
    is_compiled: bool = False,
) -> None:
    """Upscales as the command does."""
    if is_compiled:
        net = compiled(net)
    work = Work(type(net).__name__, "benchmark", "", SCALE)
    upscaler = Upscaler(net, SCALE, device=device, precision=precision)
    upscale_file(Task(source, output, "png"), upscaler, Sizing(SCALE), work, Writing())


@functools.cache
def compiled(net: nn.Module) -> nn.Module:
    """Returns a compiled copy, leaving the original unchanged."""
    net = copy.deepcopy(net)
    compile_for_inference(net)
    return net


def whole_image(net: nn.Module, source: Path, output: Path) -> None:
    """Upscales the whole image at once, the simplest approach."""
    pixels = np.array(Image.open(source).convert("RGB"))
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        sr = apply_to_rgb(net, x, SCALE)
    Image.fromarray(to_uint8(sr)[0].permute(1, 2, 0).numpy()).save(output)


def tile_loop(net: nn.Module, source: Path, output: Path) -> None:
    """Upscales like `RealESRGANer.tile_process`."""
    pixels = np.array(Image.open(source).convert("RGB"))
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    height, width = x.shape[-2:]
    sr = torch.empty(1, 3, height * SCALE, width * SCALE)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            bottom, right = min(top + TILE, height), min(left + TILE, width)
            rows, columns = (
                slice(max(first - PAD, 0), min(last + PAD, n))
                for first, last, n in ((top, bottom, height), (left, right, width))
            )
            with torch.no_grad():
                tile = apply_to_rgb(net, x[..., rows, columns], SCALE)
            y, x0 = (top - rows.start) * SCALE, (left - columns.start) * SCALE
            sr[..., top * SCALE : bottom * SCALE, left * SCALE : right * SCALE] = tile[
                ..., y : y + (bottom - top) * SCALE, x0 : x0 + (right - left) * SCALE
            ]
    Image.fromarray(to_uint8(sr)[0].permute(1, 2, 0).numpy()).save(output)


METHODS: dict[str, Method] = {
    "ours, float32": functools.partial(ours, precision="float32"),
    "ours, bf16": functools.partial(ours, precision="bf16"),
    "ours, float32, compiled": functools.partial(ours, precision="float32", is_compiled=True),
    "ours, bf16, compiled": functools.partial(ours, precision="bf16", is_compiled=True),
    "whole image, float32": whole_image,
    "tile loop, float32": tile_loop,
}


def photograph(megapixels: float, folder: Path) -> Path:
    """Writes scikit-image's astronaut at the given size, 4:3, as JPEG."""
    from skimage import data

    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    path = folder / f"{megapixels:g}.jpg"
    Image.fromarray(data.astronaut()).resize((width, width * 3 // 4), Image.Resampling.BICUBIC).save(path, quality=92)
    return path


def contenders(megapixels: float, *, with_compiled: bool) -> dict[str, Method]:
    """Selects methods: no whole-image loop for large images, whose features it holds at once; compiled on request."""
    left_out = [*([] if megapixels <= MOST_WHOLE else ["whole image"]), *([] if with_compiled else ["compiled"])]
    return {name: run for name, run in METHODS.items() if not any(part in name for part in left_out)}


def speed(report: benchmarking.Report, given: argparse.Namespace, folder: Path) -> None:
    """Measures speed from file to file."""
    for name in given.networks:
        net = load(name)
        for megapixels in given.megapixels:
            source = photograph(megapixels, folder)
            output = folder / "out.png"
            runs = {
                method: functools.partial(timed, functools.partial(run, net, source, output))
                for method, run in contenders(megapixels, with_compiled=not given.quick).items()
            }
            for method, run in runs.items():
                if method.startswith("ours"):
                    run()  # compiles and measures the receptive field once
            found = benchmarking.take_turns(runs, given.rounds)
            with Image.open(output) as image:
                size = image.width * image.height / 1e6
            case = f"{name}, {megapixels:g} MP in, {size:.0f} MP out"
            report.add(
                "speed",
                [
                    benchmarking.Row(case, method, "MP/s", [size / wall for wall, _ in times])
                    for method, times in found.items()
                ],
            )
            report.add(
                "seconds of all cores",
                [
                    benchmarking.Row(case, method, "CPU s", [cpu for _, cpu in times], False)
                    for method, times in found.items()
                ],
            )
    _decode_and_encode(report, given, folder)


def _decode_and_encode(report: benchmarking.Report, given: argparse.Namespace, folder: Path) -> None:
    source = photograph(min(given.megapixels), folder)
    pixels: NDArray[np.uint8] = np.array(Image.open(source).resize((1280, 960)))
    layout = Layout(960, 1280, 3)
    runs: dict[str, dict[str, Callable[[], object]]] = {
        "decoding a JPEG": {
            "ours": lambda: read_source(source),
            "Pillow": lambda: np.array(Image.open(source).convert("RGB")),
        },
        "encoding PNG, 1.2 MP": {
            "ours": lambda: write_image(folder / "a.png", [pixels], layout, format="png"),
            "Pillow": lambda: Image.fromarray(pixels).save(folder / "b.png"),
            "Pillow, level 1": lambda: Image.fromarray(pixels).save(folder / "c.png", compress_level=1),
        },
    }
    for case, methods in runs.items():
        found = benchmarking.take_turns(
            {name: functools.partial(timed, run) for name, run in methods.items()}, given.rounds
        )
        rows = [
            benchmarking.Row(case, name, "CPU ms", [1e3 * cpu for _, cpu in times], False)
            for name, times in found.items()
        ]
        report.add("decoding and encoding apart", rows)
    sizes = ", ".join(f"{name} {(folder / name).stat().st_size / 1e6:.2f} MB" for name in ("a.png", "b.png", "c.png"))
    report.note(f"PNG files of ours, Pillow and Pillow at level 1: {sizes}.")


def memory(report: benchmarking.Report, given: argparse.Namespace, folder: Path) -> None:
    """Measures peak memory, running each method once in a process of its own."""
    context = multiprocessing.get_context("spawn")
    name = given.networks[0]
    for megapixels in given.megapixels:
        source = photograph(megapixels, folder)
        rows = []
        for method in contenders(megapixels, with_compiled=False):
            queue = context.SimpleQueue()
            process = context.Process(target=_peak, args=(method, name, source, folder / "out.png", queue))
            process.start()
            process.join()
            rows.append(benchmarking.Row(f"{name}, {megapixels:g} MP in", method, "MB", [queue.get()], False))
        report.add("peak memory above start", rows)


def _peak(method: str, network: str, source: Path, output: Path, queue: multiprocessing.SimpleQueue[float]) -> None:
    net = load(network)
    METHODS[method](net, photograph(0.01, source.parent), output)  # triggers late imports
    start, most, done = _resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            most[0] = max(most[0], _resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    METHODS[method](net, source, output)
    done.set()
    watcher.join()
    queue.put(most[0] - start)


def _resident() -> float:
    """Returns resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Returns wall-clock and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def main(argv: Sequence[str] | None = None) -> int:
    parser = benchmarking.parser(__doc__, SECTIONS)
    parser.add_argument("--megapixels", type=float, nargs="+", default=None, help="of the input; 0.25 1 12, quick 0.05")
    parser.add_argument("--networks", nargs="+", default=None, help="pretrained weights for x4; tiny and small")
    given = benchmarking.parsed(parser, SECTIONS, argv)
    given.megapixels = given.megapixels or ([0.05] if given.quick else [0.25, 1, 12])
    given.networks = given.networks or ["edsr_tiny_y_x4", *([] if given.quick else ["edsr_small_y_x4"])]
    report = benchmarking.Report()
    with tempfile.TemporaryDirectory() as folder:
        for name in given.sections:
            {"speed": speed, "memory": memory}[name](report, given, Path(folder))
        benchmarking.finish(report, torch.device("cpu"), given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
