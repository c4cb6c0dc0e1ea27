"""Order of the batches: the samples and scale that each rank takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch.utils.data import Sampler

from sr_lightning.data.sampling.crops import scale_of_batch
from sr_lightning.errors import UserError


@dataclass(frozen=True)
class BatchRequest:
    """This rank's share of one batch, to be cropped by a worker."""

    samples: range
    scale: int
    next_k: int


class BatchSampler(Sampler[BatchRequest]):
    """Endless requests, counted in samples drawn since step 0 over all ranks.

    Args:
        start_k: First sample; any number is valid.
        batch_size: Samples per optimizer step, over all devices and accumulated batches.
        accumulate: Number of batches per optimizer step.
        rank: Rank of this process.
        world_size: Number of processes.
        seed: Determines the scale of each optimizer step.
        scales: One scale, or several for multi-scale training.
    """

    def __init__(
        self,
        *,
        start_k: int,
        batch_size: int,
        accumulate: int,
        rank: int,
        world_size: int,
        seed: int,
        scales: Sequence[int],
    ) -> None:
        if batch_size % (accumulate * world_size):
            raise UserError(
                f"data.batch_size: found {batch_size}, allowed: a multiple of {accumulate * world_size} "
                f"(trainer.accumulate_grad_batches {accumulate} x {world_size} devices)"
            )
        self.start_k = start_k
        self.batch_size = batch_size
        self.micro = batch_size // accumulate
        self.rank = rank
        self.share = self.micro // world_size
        self.seed = seed
        self.scales = list(scales)

    def __iter__(self) -> Iterator[BatchRequest]:
        k = self.start_k
        while True:
            scale = scale_of_batch(self.seed, k // self.batch_size, self.scales)
            first = k + self.rank * self.share
            yield BatchRequest(range(first, first + self.share), scale, k + self.micro)
            k += self.micro
