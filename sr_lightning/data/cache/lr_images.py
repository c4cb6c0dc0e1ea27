"""Cache of the LR images of a store, made once, so that training steps need not make LR patches.

Downscaling a window with its margin gives, bit for bit, the same window of the whole LR image (tested for every kernel
allowed here), so the samples are the same with and without the cache.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from sr_lightning.data.cache.builder import derive
from sr_lightning.data.cache.store import ImageStore, MappedImages
from sr_lightning.data.degradations.base import Degradation, Downscale
from sr_lightning.data.images import Images, multiple_of

log = logging.getLogger(__name__)

_VERSION = 2  # of the arithmetic; part of the name, so that a `resize` with different results does not find old images
_EXACT = ("bicubic", "bicubic_double", "bilinear", "box")
"""Kernels whose sums are exact, and equal for a mirrored image, so that windows may extend past the border."""


def cached_lr(
    images: Images, scales: Sequence[int], degrade: Degradation, *, limit: int | None = None
) -> dict[int, MappedImages]:
    """Finds or makes the LR images, stored beside the HR images.

    Args:
        images: The training images.
        scales: Scales at which LR images are needed.
        degrade: The degradation; any other than a plain `Downscale` may treat each sample differently.
        limit: Maximum size of HR and LR together in bytes.

    Returns:
        Scale -> LR images, numbered like the HR images. Scales are missing if LR is ready-made or has to be made from
        each window, because the HR images are not in a store or there is no more room.
    """
    hr = images.hr
    # A subclass may draw a different LR for each sample.
    if images.lr or type(degrade) is not Downscale or degrade.kernel not in _EXACT:
        return {}
    if not isinstance(hr, ImageStore) or not hr.is_stored:
        return {}
    left = None if limit is None else limit - sum(height * width * 3 for height, width in hr.sizes)
    found: dict[int, MappedImages] = {}
    for scale in scales:
        needed = sum((height // scale) * (width // scale) * 3 for height, width in hr.sizes)
        if left is not None and needed > left:
            log.info("x%d: LR is made of each window, because data.store_limit_gb has no room for more", scale)
            continue
        file = hr.derived_file(f".x{scale}.{degrade.describe()}-{_VERSION}.rgb8")
        make = partial(_downscaled, hr, scale, degrade)
        content = derive(file, make, len(hr), needed=needed, doing="shrinking")
        if content is not None:
            found[scale] = MappedImages(file, content)
            left = None if left is None else left - needed
    return found


def _downscaled(hr: ImageStore, scale: int, degrade: Downscale, index: int) -> NDArray[np.uint8]:
    """Returns LR image `index` as (H // s, W // s, 3)."""
    image = np.ascontiguousarray(multiple_of(hr[index], scale).transpose(2, 0, 1))  # (3, H, W)
    return degrade(torch.from_numpy(image), scale).permute(1, 2, 0).numpy()
