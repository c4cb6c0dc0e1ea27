"""Versions, hardware and network size for a run's records; filters for irrelevant warnings."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import subprocess
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_lightning.runs.allocator import malloc_setting
from sr_lightning.text import counted

if TYPE_CHECKING:
    import lightning.pytorch as pl
    import torch
    from torch import nn

_PACKAGES = ("torch", "lightning", "hydra-core", "numpy", "pillow")


def describe(trainer: pl.Trainer, net: nn.Module, command: str, *, scale: int) -> dict[str, Any]:
    """Collects plain facts for the log, W&B and `results.json`; no environment variables, hence no secrets."""
    from sr_lightning.inference.cost import multiply_adds_on_paper

    return environment(command) | {
        "network": type(net).__name__,
        "parameters": sum(p.numel() for p in net.parameters()),
        "multiply_adds": multiply_adds_on_paper(net, scale),
        "hardware": f"{hardware(trainer.strategy.root_device, trainer.world_size)}, {trainer.precision}",
    }


def hardware(device: torch.device, world_size: int) -> str:
    """Describes the devices of a run in words."""
    import torch

    if device.type == "cuda":
        return f"{world_size} x {torch.cuda.get_device_name(device)}"
    n_threads = torch.get_num_threads()
    one = f"{counted(n_threads, f'{device.type.upper()} thread')} ({platform.machine()})"
    return f"{world_size} x {one}" if world_size > 1 else one


def environment(command: str) -> dict[str, Any]:
    """Returns the command line, package versions, and the memory allocation mode."""
    return {
        "command": command,
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "commit": _commit(),
        "malloc": malloc_setting(),
    }


def _commit() -> str | None:
    """Returns the checkout's commit, with a `+` if files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty=+"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def quiet() -> None:
    """Silences Lightning messages that are irrelevant to the user."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # The data path copies from a memory map: more workers would not help.
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    # Lightning 2.6.6 with torch 2.15, in its own pytree helper.
    warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
    # The module gathers validation figures, so they are equal on all ranks; a mean of means would differ.
    warnings.filterwarnings("ignore", ".*sync_dist=True.*")
    # The data has no epochs; it is resumed at the stored sample.
    warnings.filterwarnings("ignore", ".*resumed from a checkpoint that ended before the epoch.*")
    # A single process without srun is intended.
    warnings.filterwarnings("ignore", ".*`srun` command is available.*")
    warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
    # From the code of third-party networks in spandrel.
    warnings.filterwarnings("ignore", "torch.meshgrid: in an upcoming release.*")
    warnings.filterwarnings("ignore", "'saved_variables' is deprecated.*", DeprecationWarning)
