"""Rank and number of processes, read from the environment of torchrun, srun or the project's own launcher."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Ranks:
    """This process's rank among the processes of a run."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    """Index on this machine, which selects the device."""


def ranks() -> Ranks:
    """Returns the ranks of this process; those of a single process if it was not launched as one of several."""
    if "RANK" in os.environ:
        world_size = int(os.environ.get("WORLD_SIZE", "1"))
        return Ranks(int(os.environ["RANK"]), world_size, int(os.environ.get("LOCAL_RANK", "0")))
    if (tasks := _slurm_tasks()) > 1:
        return Ranks(int(os.environ["SLURM_PROCID"]), tasks, int(os.environ["SLURM_LOCALID"]))
    return Ranks()


def is_launched() -> bool:
    """Returns whether one process per device has already been started, by torchrun, srun or our launcher."""
    return "LOCAL_RANK" in os.environ or _slurm_tasks() > 1


def is_torchrun() -> bool:
    """Returns whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def external_rank() -> int:
    """Returns the rank among several processes of torchrun or srun; -1 otherwise, including under our own launcher."""
    if is_torchrun() and int(os.environ["WORLD_SIZE"]) > 1:
        return int(os.environ["RANK"])
    return int(os.environ["SLURM_PROCID"]) if _slurm_tasks() > 1 else -1


def _slurm_tasks() -> int:
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
