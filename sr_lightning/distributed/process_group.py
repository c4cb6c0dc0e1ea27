"""Process group of an evaluation: rank, number of processes, device."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed

from sr_lightning.distributed.environment import ranks
from sr_lightning.errors import UserError


@dataclass(frozen=True)
class Place:
    """This process among `world_size` processes, and its device."""

    rank: int
    world_size: int
    device: torch.device


@contextmanager
def joined(accelerator: str, devices: int | str | Sequence[int]) -> Iterator[Place]:
    """Joins the processes started by the command, torchrun or srun; a single process if there are none.

    Only results are exchanged, so gloo works for every device.

    Args:
        accelerator: `auto`, `cpu`, `gpu` or `cuda`.
        devices: A list names the devices by index; otherwise they are taken in order.

    Raises:
        UserError: The requested device does not exist.
    """
    own = ranks()
    device = _device(accelerator, devices, own.local_rank)
    if own.world_size == 1:
        yield Place(0, 1, device)
        return
    if "MASTER_ADDR" not in os.environ:
        _meet_as_slurm_does()
    torch.distributed.init_process_group("gloo", rank=own.rank, world_size=own.world_size)
    try:
        yield Place(own.rank, own.world_size, device)
    finally:
        torch.distributed.destroy_process_group()


def refuse_different(finding: str, own: list[str]) -> None:
    """Checks on every rank that all ranks have the same list, as files of one name may differ between machines.

    Args:
        finding: Start of the message; `{others}` stands for the ranks whose list differs from rank 0's.
        own: List of this process.

    Raises:
        UserError: The lists differ.
    """
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return
    lists: list[list[str] | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(lists, own)
    if others := ", ".join(str(rank) for rank, found in enumerate(lists) if found != lists[0]):
        raise UserError(f"{finding.format(others=others)}; allowed: the same files on every machine")


def _device(accelerator: str, devices: int | str | Sequence[int], local: int) -> torch.device:
    if accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    index = devices[local] if isinstance(devices, Sequence) and not isinstance(devices, str) else local
    if index >= torch.cuda.device_count():
        raise UserError(
            f"accelerator: found {accelerator} for device {index}, but {torch.cuda.device_count()} are there; "
            "allowed: accelerator=cpu, or fewer devices"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def _meet_as_slurm_does() -> None:
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    environment = SLURMEnvironment()
    os.environ["MASTER_ADDR"] = environment.main_address
    os.environ["MASTER_PORT"] = str(environment.main_port)
