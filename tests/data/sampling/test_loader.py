"""What goes wrong while windows are cut reaches the user."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from sr_lightning.data.datasets import TrainSamples
from sr_lightning.data.degradations.base import Downscale
from sr_lightning.data.sampling.loader import train_loader
from sr_lightning.data.sampling.sampler import BatchSampler
from sr_lightning.errors import UserError
from sr_lightning.image.decoder import BadImageError


class Damaged:
    """Images of a source of one's own that decodes them when they are needed."""

    sizes, grouping = [(64, 64)] * 4, None

    def __getitem__(self, index):
        raise BadImageError(Path("a.png"), "is damaged")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_damaged_image_is_named(num_workers):
    """Its class takes more than a message, and was called with one."""
    images = SimpleNamespace(hr=Damaged(), lr=None)
    samples = TrainSamples(images, patch_size=8, seed=0, augment=True, degrade=Downscale("bicubic"))
    sampler = BatchSampler(start_k=0, batch_size=2, accumulate=1, rank=0, world_size=1, seed=0, scales=[2])
    loader = train_loader(samples, sampler, num_workers=num_workers, timeout=60, seed=0)
    with pytest.raises(UserError, match=r"^a\.png: is damaged$"):
        next(iter(loader))
