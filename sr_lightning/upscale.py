"""Command `upscale`: upscales image files of any format and size with a trained network."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sr_lightning.cli.interruption import terminable
from sr_lightning.cli.main import run_command
from sr_lightning.config.upscale import UpscaleConfig
from sr_lightning.errors import FailedError, UserError
from sr_lightning.runs.allocator import keep_large_buffers

if TYPE_CHECKING:
    from sr_lightning.builders.load_network import LoadedNetwork
    from sr_lightning.inference.upscaler import Upscaler
    from sr_lightning.upscaling.history import Work
    from sr_lightning.upscaling.plan import Plan
    from sr_lightning.upscaling.sources import Source

# Options that affect the output, with the values at which they have no effect.
_PLAIN = {
    **dict.fromkeys(("outscale", "width", "height", "longest", "shortest", "quality", "overlap")),
    "metadata": "keep",
    "self_ensemble": False,
    "back_projection": 0,
    "precision": "float32",
}


def upscale(config: UpscaleConfig) -> None:
    """Upscales the images and prints the results.

    Args:
        config: The validated config.

    Raises:
        UserError: An input is missing, the network cannot be loaded, or no image can be processed.
        FailedError: An image failed; the others are finished.
    """
    from sr_lightning.upscaling.sources import find_sources

    sources, made = find_sources(config.input)
    plan = None if config.scale is None else _plan(sources, config, config.scale)
    print("loading torch …", flush=True)
    keep_large_buffers("cpu" if set(config.device) == {"cpu"} else config.device[0])
    from sr_lightning.builders.load_network import load_network
    from sr_lightning.upscaling.image_job import Writing
    from sr_lightning.upscaling.run import Job, upscale_files
    from sr_lightning.upscaling.summary import image_line, summary

    network = load_network(config.checkpoint, model=config.model)
    scale = network.choose_scale(config.scale)
    plan = plan or _plan(sources, config, scale)
    upscalers = _upscalers(network, scale, config)
    job = Job(_work(network, scale, config), Writing(config.quality, keep_metadata=config.metadata == "keep"))
    is_alone = plan.count == 1  # the summary covers it
    began = time.perf_counter()
    with terminable(), _progress(plan.count) as (say, advance):
        outcome = upscale_files(
            plan,
            upscalers,
            job,
            told=lambda done: say("" if is_alone else image_line(done)),
            failed=lambda reason: say("" if is_alone else f"failed: {reason}"),
            progress=advance,
        )
    outcome.made_by_us = len(made)
    seconds, name = time.perf_counter() - began, f"{network.label} x{scale}, weights {job.work.weights}"
    print(summary(outcome, seconds, network=name, notes=_notes(upscalers)))
    if outcome.failed:
        raise FailedError(f"{len(outcome.failed)} of {len(sources)} images failed")


def _plan(sources: list[Source], config: UpscaleConfig, scale: int) -> Plan:
    """Plans the tasks; raises UserError if none of the images can be upscaled as requested."""
    from sr_lightning.image.encoder import check_quality
    from sr_lightning.upscaling.plan import make_plan
    from sr_lightning.upscaling.size import Sizing
    from sr_lightning.upscaling.sources import plan_outputs

    lengths = {key: getattr(config, key) for key in ("width", "height", "longest", "shortest", "skip_larger")}
    sizing = Sizing(scale, outscale=config.outscale, **lengths)
    tasks = plan_outputs(sources, config.output, size_name=sizing.name, format=config.format)
    if (finding := check_quality(tasks[0].format, config.quality)) is not None:
        raise UserError(finding)
    return make_plan(tasks, sizing, overwrite=config.overwrite)


def _upscalers(network: LoadedNetwork, scale: int, config: UpscaleConfig) -> list[Upscaler]:
    """Creates one upscaler per device."""
    from sr_lightning.inference.devices import choose_devices
    from sr_lightning.inference.forward import compile_for_inference
    from sr_lightning.inference.upscaler import Upscaler

    first, *others = choose_devices(config.device)
    upscaler = Upscaler(
        network.net,
        scale,
        device=first,
        tile=config.tile,
        overlap=config.overlap,
        self_ensemble=config.self_ensemble,
        precision=config.precision,
        back_projection=config.back_projection,
    )
    found = [upscaler, *(upscaler.on(device) for device in others)]
    for each in found if config.compile else ():
        compile_for_inference(each.net)  # a copy would not be compiled
    return found


def _work(network: LoadedNetwork, scale: int, config: UpscaleConfig) -> Work:
    from sr_lightning.upscaling.history import Work, weights_name

    options = {key: value for key, plain in _PLAIN.items() if (value := getattr(config, key)) != plain}
    if config.overlap is not None:  # tiles of any size give the same image, unless the user chooses their overlap
        options["tile"] = config.tile
    return Work(network.label, weights_name(network.file), network.sha256, scale, options)


@contextmanager
def _progress(count: int) -> Iterator[tuple[Callable[[str], None], Callable[[float], None]]]:
    """Prints lines above a progress bar of images and megapixels; without a terminal, only the lines."""
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
            if line:
                console.print(line)
            progress.advance(bar)

        def advance(more: float) -> None:
            nonlocal megapixels
            megapixels += more
            progress.update(bar, done=megapixels, speed=megapixels / (time.perf_counter() - began))

        yield say, advance


def _notes(upscalers: list[Upscaler]) -> list[str]:
    """Returns notes on how the network was used, if it differs from the default."""
    return sorted({note for upscaler in upscalers for note in upscaler.notes.values()})


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command("upscale", upscale, argv)


if __name__ == "__main__":
    sys.exit(main())
