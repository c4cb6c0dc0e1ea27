"""`python -m sr_lightning.upscale input=photo.jpg`: enlarges image files with a trained network."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_lightning.cli.main import run_plain
from sr_lightning.config.upscale import UpscaleConfig, check_upscale
from sr_lightning.errors import FailedError, InterruptedRun

if TYPE_CHECKING:
    from sr_lightning.builders.load_network import LoadedNetwork
    from sr_lightning.inference.upscaler import Upscaler
    from sr_lightning.upscaling.history import Work
    from sr_lightning.upscaling.size import Sizing

log = logging.getLogger(__name__)

_DEFAULTS = {"tile": ("auto",), "overlap": (None,), "self_ensemble": (False,), "back_projection": (0,)}


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
    print("loading torch …", flush=True)
    from sr_lightning.builders.load_network import load_network
    from sr_lightning.upscaling.image_job import Writing
    from sr_lightning.upscaling.run import Job, upscale_files

    network = load_network(config.checkpoint, model=config.model)
    scale = network.chosen_scale(config.scale)
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
