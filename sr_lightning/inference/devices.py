"""Selection of the compute devices that a user names, checked against this machine."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sr_lightning.errors import UserError


def choose_devices(asked: Sequence[str]) -> list[str]:
    """Returns the devices to compute on.

    Args:
        asked: `auto` alone (all GPUs, or else the CPU), or `cpu`, `cuda`, `cuda:1` …

    Raises:
        UserError: This machine has no such GPU.
    """
    count = torch.cuda.device_count()
    if list(asked) == ["auto"]:
        return [f"cuda:{i}" for i in range(count)] or ["cpu"]
    for device in asked:
        number = int(device.partition(":")[2] or 0)
        if device != "cpu" and number >= count:
            raise UserError(f"device: found {device}, but this machine has {count} CUDA devices; allowed: auto, cpu")
    return list(asked)
