"""Command `upscale`: enlarges image files with a trained network, to files of any format and size."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sr_lightning.cli.main import run_command
from sr_lightning.config.upscale import UpscaleConfig
from sr_lightning.errors import FailedError, InterruptedRun, UserError

if TYPE_CHECKING:
    from sr_lightning.builders.load_network import LoadedNetwork
    from sr_lightning.inference.upscaler import Upscaler
    from sr_lightning.upscaling.history import Work
    from sr_lightning.upscaling.size import Sizing

# Options that change what an output holds, and the values with which they change nothing.
_PLAIN = {
    **dict.fromkeys(("outscale", "width", "height", "longest", "shortest", "quality", "overlap")),
    "metadata": "keep",
    "self_ensemble": False,
    "back_projection": 0,
    "precision": "float32",
}


def upscale(config: UpscaleConfig) -> None:
    """Enlarges the images and prints what came of them.

    Args:
        config: Checked.

    Raises:
        UserError: An input is not there, the network cannot be loaded, or no image can be worked on.
        FailedError: An image failed; the others are done.
    """
    from sr_lightning.upscaling.size import Sizing
    from sr_lightning.upscaling.sources import find_sources, plan_outputs
    from sr_lightning.upscaling.summary import image_line, summary

    sources, made = find_sources(config.input)
    from sr_lightning.builders.load_network import load_network
    from sr_lightning.upscaling.image_job import Writing
    from sr_lightning.upscaling.run import Job, upscale_files

    network = load_network(config.checkpoint, model=config.model)
    scale = network.choose_scale(config.scale)
    lengths = {key: getattr(config, key) for key in ("width", "height", "longest", "shortest", "skip_larger")}
    sizing = Sizing(scale, outscale=config.outscale, **lengths)
    tasks = plan_outputs(sources, config.output, size_name=sizing.name, format=config.format)
    upscalers = _upscalers(network, scale, config)
    job = Job(
        sizing,
        _work(network, sizing, config),
        Writing(config.quality, keep_metadata=config.metadata == "keep", overwrite=config.overwrite),
    )
    began = time.perf_counter()
    with _terminable(), _progress(len(tasks)) as (say, advance):
        outcome = upscale_files(
            tasks,
            upscalers,
            job,
            told=lambda done: say(image_line(done)),
            failed=lambda _, reason: say(f"failed: {reason}"),
            progress=advance,
        )
    outcome.made_by_us = len(made)
    print(summary(outcome, time.perf_counter() - began, notes=_notes(upscalers)))
    if outcome.failed:
        raise FailedError(f"{len(outcome.failed)} of {len(tasks)} images failed")


def _upscalers(network: LoadedNetwork, scale: int, config: UpscaleConfig) -> list[Upscaler]:
    """One for each device."""
    from sr_lightning.inference.upscaler import Upscaler

    first, *others = _devices(config.device)
    net = network.net
    if config.compile:
        net.compile()
    upscaler = Upscaler(
        net,
        scale,
        device=first,
        tile=config.tile,
        overlap=config.overlap,
        self_ensemble=config.self_ensemble,
        precision=config.precision,
        back_projection=config.back_projection,
    )
    return [upscaler, *(upscaler.on(device) for device in others)]


def _devices(asked: list[str]) -> list[str]:
    """`auto`: all GPUs, or the CPU."""
    import torch

    count = torch.cuda.device_count()
    if asked == ["auto"]:
        return [f"cuda:{i}" for i in range(count)] or ["cpu"]
    for device in asked:
        number = int(device.partition(":")[2] or 0)
        if device != "cpu" and number >= count:
            raise UserError(f"device: found {device}, but this machine has {count} CUDA devices; allowed: auto, cpu")
    return asked


def _work(network: LoadedNetwork, sizing: Sizing, config: UpscaleConfig) -> Work:
    from sr_lightning.upscaling.history import Work

    options = {key: value for key, plain in _PLAIN.items() if (value := getattr(config, key)) != plain}
    weights = network.file.stem if network.file.suffix == ".safetensors" else network.file.name
    return Work(network.label, weights, network.sha256, sizing.scale, options)


@contextmanager
def _progress(count: int) -> Iterator[tuple[Callable[[str], None], Callable[[float], None]]]:
    """Prints lines above a bar that counts images and megapixels; without a terminal only the lines."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(highlight=False, markup=False, soft_wrap=True)
    text = "{task.completed}/{task.total} images  {task.fields[done]:.1f} MP  {task.fields[speed]:.1f} MP/s"
    megapixels, began = 0.0, time.perf_counter()
    with Progress(
        BarColumn(), TextColumn(text), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task("", total=count, done=0.0, speed=0.0)

        def say(line: str) -> None:
            console.print(line)
            progress.advance(bar)

        def advance(more: float) -> None:
            nonlocal megapixels
            megapixels += more
            progress.update(bar, done=megapixels, speed=megapixels / (time.perf_counter() - began))

        yield say, advance


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does: the image that is half done leaves nothing behind."""

    def stop(number: int, _: Any) -> None:
        raise InterruptedRun(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _notes(upscalers: list[Upscaler]) -> list[str]:
    """How the network was used, where that is another way than the usual one."""
    return sorted({note for upscaler in upscalers for note in upscaler.notes.values()})


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run_command("upscale", upscale, argv)


if __name__ == "__main__":
    sys.exit(main())
