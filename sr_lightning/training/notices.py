"""Remarks on a run that its user should know when it starts."""

from __future__ import annotations

import lightning.pytorch as pl
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norm_notice(net: nn.Module, trainer: pl.Trainer, batch_size: int) -> str | None:
    """What batch normalisation sees where a batch is divided over processes or accumulated; None where it sees all.

    Args:
        net: The network.
        trainer: Says how a batch is divided.
        batch_size: Samples of an optimizer step, over all processes.
    """
    parts = trainer.world_size * trainer.accumulate_grad_batches
    if parts == 1 or not any(isinstance(module, _BatchNorm) for module in net.modules()):
        return None
    return (
        f"{type(net).__name__} has batch normalisation, which sees {batch_size // parts} samples at a time here, not "
        f"the {batch_size} of data.batch_size: with other devices or another trainer.accumulate_grad_batches the "
        "results differ" + ("; its running statistics are those of process 0" if trainer.world_size > 1 else "")
    )
