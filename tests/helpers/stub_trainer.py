"""What the data module asks of a Trainer, without one."""

from types import SimpleNamespace

import torch


def stub_trainer(*, rank=0, world_size=1, accumulate=1):
    """A rank on the CPU."""
    return SimpleNamespace(
        global_rank=rank,
        world_size=world_size,
        accumulate_grad_batches=accumulate,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )
