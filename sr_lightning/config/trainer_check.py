"""Check of trainer and device settings, as far as possible without Lightning and without a device."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from sr_lightning.config.findings import as_yaml
from sr_lightning.text import nearest

_ACCELERATORS = ("auto", "cpu", "gpu", "cuda")
_PRECISIONS = ("auto", "32-true", "32", "16-mixed", "16", "bf16-mixed", "bf16")
_STRATEGIES = (
    *("auto", "single_device", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false"),
    # No sharding: the average of the weights, clipping by norm and our checkpoints need whole weights.
    *("ddp_spawn", "ddp_fork", "ddp_notebook"),
)
_PER_CORE = 4  # ranks that may share a CPU core: more must be a typo
# Trainer arguments that the project sets itself, or that are incompatible with step-based training, and what to type
# instead.
_NOT_OURS = {
    "callbacks": "the section callbacks",
    "logger": "the section logger",
    "max_epochs": "trainer.max_steps",
    "min_epochs": "trainer.max_steps",
    "min_steps": "trainer.max_steps",
    "limit_train_batches": "trainer.max_steps",
    "limit_predict_batches": "nothing",
    "check_val_every_n_epoch": "trainer.val_check_interval, in steps",
    "num_sanity_val_steps": "debug=fast",
    "fast_dev_run": "debug=fast",
    "overfit_batches": "data.train_dir with few images",
    "enable_checkpointing": "callbacks.checkpoints",
    "enable_progress_bar": "callbacks.progress=null",
    "enable_model_summary": "nothing; the parameters are counted anyway",
    "use_distributed_sampler": "nothing; the samplers know their ranks",
    "reload_dataloaders_every_n_epochs": "nothing; there are no epochs",
    "default_root_dir": "hydra.run.dir",
    "plugins": "nothing; checkpoints are written with their checksum",
    "barebones": "nothing",
    "enable_autolog_hparams": "nothing",
    "model_registry": "nothing",
}


def trainer_findings(trainer: Any) -> Iterator[str]:
    """Yields one message per value in the section `trainer` that cannot work; types are left to the type check."""
    if not isinstance(trainer, dict):
        return
    for key, instead in _NOT_OURS.items():
        if key in trainer:
            yield f"trainer.{key}: found {as_yaml(trainer[key])}, which the project sets; allowed: {instead}"
    accelerator = trainer.get("accelerator", "auto")
    yield from device_findings("trainer.", accelerator, trainer.get("devices", 1))
    nodes = trainer.get("num_nodes", 1)
    if isinstance(nodes, int) and nodes < 1:
        yield f"trainer.num_nodes: found {nodes}, allowed: 1 and more"
    precision = trainer.get("precision", "auto")
    if precision is not None and str(precision) not in _PRECISIONS:
        yield f"trainer.precision: found {precision!r}, {nearest(str(precision), _PRECISIONS)}"
    strategy = trainer.get("strategy", "auto")
    if isinstance(strategy, str) and strategy not in _STRATEGIES:
        yield f"trainer.strategy: found {strategy!r}, {nearest(strategy, _STRATEGIES)}"
    yield from _batch_findings(trainer)


def _batch_findings(trainer: dict[str, Any]) -> Iterator[str]:
    interval = trainer.get("val_check_interval", 1)
    if not isinstance(interval, int) or isinstance(interval, bool):
        yield f"trainer.val_check_interval: found {as_yaml(interval)}, allowed: a whole number of steps, 1 and more"
    for key, least in (("limit_val_batches", 0), ("limit_test_batches", 1)):  # only validation may be disabled
        limit = trainer.get(key)
        if isinstance(limit, float) and not 0 < limit <= 1:
            yield f"trainer.{key}: found {limit}, allowed: a share above 0 and up to 1, a number of images, or null"
        elif isinstance(limit, int) and limit < least:
            yield f"trainer.{key}: found {limit}, allowed: {least} and more, a share of the images, or null"
    algorithm = trainer.get("gradient_clip_algorithm")
    if algorithm not in (None, "norm", "value"):
        yield f"trainer.gradient_clip_algorithm: found {algorithm!r}, allowed: norm, value"
    profiler = trainer.get("profiler")
    if isinstance(profiler, str) and profiler not in ("simple", "advanced", "pytorch"):
        yield f"trainer.profiler: found {profiler!r}, allowed: simple, advanced, pytorch, null"
    limit = trainer.get("max_time")
    if isinstance(limit, str) and not re.fullmatch(r"\d+:\d\d:\d\d:\d\d", limit):
        yield f"trainer.max_time: found {limit!r}, allowed: days:hours:minutes:seconds such as 00:12:00:00"


def device_findings(prefix: str, accelerator: Any, devices: Any) -> Iterator[str]:
    """Yields one message if devices are requested that no machine, or not this one, can provide.

    Args:
        prefix: `trainer.`, or empty.
        accelerator: `auto`, `cpu`, `gpu`, …
        devices: A number, a list of their numbers, `auto` or -1.
    """
    if accelerator not in _ACCELERATORS:
        yield f"{prefix}accelerator: found {as_yaml(accelerator)}, allowed: {', '.join(_ACCELERATORS)}"
        return
    allowed = "1 and more, a list of different numbers such as [0,1], or auto"
    if isinstance(devices, str) and devices not in ("auto", "-1"):
        is_number = devices.isascii() and devices.isdigit() and int(devices) > 0
        if not is_number:
            yield f"{prefix}devices: found {devices!r}, allowed: {allowed}"
            return
        devices = int(devices)
    if isinstance(devices, list):
        if not devices or len(set(map(str, devices))) < len(devices) or any(_is_no_device(d) for d in devices):
            yield f"{prefix}devices: found {devices}, allowed: {allowed}"
            return
    elif devices not in ("auto", "-1", -1) and (_is_no_device(devices) or devices < 1):
        yield f"{prefix}devices: found {as_yaml(devices)}, allowed: {allowed}"
        return
    yield from _too_many(prefix, accelerator, devices)


def _is_no_device(number: Any) -> bool:
    return not isinstance(number, int) or isinstance(number, bool) or number < 0


def _too_many(prefix: str, accelerator: str, devices: Any) -> Iterator[str]:
    """Yields one message if this machine certainly does not have that many."""
    number = len(devices) if isinstance(devices, list) else devices if isinstance(devices, int) else 1
    has_gpu = has_accelerator()
    if devices in (-1, "-1") and (accelerator == "cpu" or (accelerator == "auto" and not has_gpu)):
        yield f"{prefix}devices: found -1, all GPUs, but this runs on the CPU; allowed: 1 and more processes, or auto"
    if accelerator in ("gpu", "cuda") and not has_gpu:
        yield f"{prefix}accelerator: found {accelerator}, but this machine has no GPU; allowed: auto, cpu"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if (accelerator == "cpu" or (accelerator == "auto" and not has_gpu)) and number > cores * _PER_CORE:
        yield (
            f"{prefix}devices: found {number} on the CPU, which would start as many processes; allowed: up to "
            f"{cores * _PER_CORE} on {cores} cores"
        )


def has_accelerator() -> bool:
    """Whether the operating system may have an accelerator; errs on the side of yes, as no driver is queried."""
    try:
        names = os.listdir("/dev")
    except OSError:
        return True
    drivers = ("nvidia", "nvhost", "nvgpu", "dri", "kfd", "dxg", "accel", "davinci")
    return sys.platform == "darwin" or any(name.startswith(drivers) for name in names)
