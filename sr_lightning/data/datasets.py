"""Datasets over sets of images: windows of numbered training samples, and whole images for evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sr_lightning.data.batch import EvalImage, NoImage, TrainWindows
from sr_lightning.data.degradations.base import Degradation, is_on_cpu, with_lr
from sr_lightning.data.images import DecodedImages, Images, multiple_of
from sr_lightning.data.sampling.crops import RGB, CropPlan, window
from sr_lightning.data.sampling.sampler import BatchRequest
from sr_lightning.errors import UserError


class TrainSamples(Dataset[TrainWindows]):
    """Crops the windows of a batch, and makes their LR if that is done on the CPU; indexed by a `BatchRequest`.

    Args:
        images: The training images.
        patch_size: Side length of the LR patch.
        seed: Determines each sample together with k.
        augment: Whether to apply random dihedral transforms.
        permute_channels: Whether to permute the colour channels.
        degrade: The degradation, which declares how much margin a window needs.
        cached_lr: The whole images as degraded by `degrade`, if cached: scale -> LR images, with the same numbers.
    """

    def __init__(
        self,
        images: Images,
        *,
        patch_size: int,
        seed: int,
        augment: bool,
        permute_channels: bool = False,
        degrade: Degradation,
        cached_lr: Mapping[int, DecodedImages] | None = None,
    ) -> None:
        self.images = images
        self.cached_lr = cached_lr or {}
        self.patch_size = patch_size
        self.degrade = degrade
        self.plan = CropPlan(
            images.hr.sizes,
            patch_size=patch_size,
            seed=seed,
            augment=augment,
            permute_channels=permute_channels,
            grouping=images.hr.grouping,
        )

    def batch_bytes(self, samples: int, scale: int) -> int:
        """Returns an upper bound on the bytes of a batch's windows."""
        side = (self.patch_size + 2 * self.degrade.margin(scale)) * scale
        return samples * 3 * (side**2 + self.patch_size**2)

    def __getitem__(self, request: BatchRequest) -> TrainWindows:
        try:
            return self._windows(request)
        except UserError as error:  # torch rebuilds it from its message alone, which subclasses may not accept
            raise UserError(str(error)) from None

    def _windows(self, request: BatchRequest) -> TrainWindows:
        scale, p = request.scale, self.patch_size
        crops = self.plan.crops(request.samples, scale)
        lr_store = self.images.lr[scale] if self.images.lr else self.cached_lr.get(scale)
        m = 0 if lr_store else self.degrade.margin(scale)
        side = (p + 2 * m) * scale
        hr = np.empty((len(crops), side, side, 3), np.uint8)
        lr = np.empty((len(crops), p, p, 3), np.uint8) if lr_store else None
        for i, crop in enumerate(crops):
            image = multiple_of(self.images.hr[crop.image], scale)
            hr[i] = window(image, (crop.top - m) * scale, (crop.left - m) * scale, side, side)
            if lr_store and lr is not None:
                lr[i] = window(lr_store[crop.image], crop.top, crop.left, p, p)
            if crop.colours != RGB:
                for cut in (hr, lr) if lr is not None else (hr,):
                    cut[i] = cut[i][..., crop.colours]
        windows = TrainWindows(
            # Views, as expected by a network that computes in channels_last: a copy takes as long as the cropping.
            hr=torch.from_numpy(hr).permute(0, 3, 1, 2),
            lr=None if lr is None else torch.from_numpy(lr).permute(0, 3, 1, 2),
            scale=scale,
            dihedral=tuple(crop.dihedral for crop in crops),
            keys=tuple(request.samples),
            next_k=request.next_k,
        )
        return with_lr(windows, self.degrade) if windows.lr is None and is_on_cpu(self.degrade) else windows


class EvalImages(Dataset[EvalImage | NoImage]):
    """Every image of every set at every scale, in order; an index past the end gives `NoImage`.

    Args:
        sets: The sets.
        scales: The scales.
        crop: Side length of a centre crop in HR pixels; None: whole images.
    """

    def __init__(self, sets: Sequence[Images], scales: Sequence[int], *, crop: int | None = None) -> None:
        self.items = [(images, scale, index) for images in sets for scale in scales for index in range(len(images.hr))]
        self.crop = crop

    def __len__(self) -> int:
        return len(self.items)

    def share(self, rank: int, world_size: int) -> range:
        """Returns one rank's indices: each image goes to one rank, and all ranks have the same number of indices."""
        rounds = -(-len(self) // world_size)
        return range(rank, rounds * world_size, world_size)

    def __getitem__(self, index: int) -> EvalImage | NoImage:
        if index >= len(self):
            return NoImage()
        images, scale, i = self.items[index]
        hr = multiple_of(images.hr[i], scale)
        lr = images.lr[scale][i] if images.lr else None
        if self.crop is not None:
            hr, lr = _centre(hr, lr, scale, self.crop // scale)
        return EvalImage(
            hr=_nchw(hr[None]),
            lr=None if lr is None else _nchw(lr[None]),
            scale=scale,
            set=images.name,
            name=Path(images.hr.paths[i]).name,
            key=i,
        )


def _centre(
    hr: NDArray[np.uint8], lr: NDArray[np.uint8] | None, scale: int, side: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Returns the central `side` LR pixels of both, or all of them if the image is smaller."""
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    rows, columns = min(side, height), min(side, width)
    top, left = (height - rows) // 2, (width - columns) // 2
    hr = hr[top * scale : (top + rows) * scale, left * scale : (left + columns) * scale]
    return hr, None if lr is None else lr[top : top + rows, left : left + columns]


def _nchw(batch: NDArray[np.uint8]) -> Tensor:
    """Maps (N, H, W, 3) -> (N, 3, H, W) as a copy that owns its memory (the store's memory map is read-only)."""
    return torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2)))
