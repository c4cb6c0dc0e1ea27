"""Window, dihedral transform and channel order of sample k: a pure function of (seed, k) and the image sizes.

No state is kept between samples, so the batch of a step is the same with 0 or 8 workers, on 1 or 8 devices, and after
a resume.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sr_lightning.data.images import Grouping
from sr_lightning.data.sampling.random_streams import Stream, philox, random_bits, successive_bits
from sr_lightning.errors import UserError

RGB = (0, 1, 2)
_ORDERS = tuple(itertools.permutations(RGB))  # the first is RGB


def _below(bits: int, n: int) -> int:
    """Maps 64 random bits to 0 … n - 1 (the bias is below n / 2^64)."""
    return (bits * n) >> 64


@dataclass(frozen=True, slots=True)
class Crop:
    """One training sample."""

    image: int
    top: int
    """In LR pixels, as is `left`."""
    left: int
    dihedral: int
    """0 to 7: 1 flips left-right, 2 flips top-bottom, 4 transposes; see `image.color.dihedral`."""
    colours: tuple[int, ...] = RGB
    """The channels in their new order."""


@functools.lru_cache(maxsize=4)
def _order(seed: int, n_images: int, pass_index: int, grouping: Grouping | None = None) -> NDArray[np.int64]:
    """Returns the order of the images in one pass, each once.

    If images are grouped, each file is assigned a position in the pass, and each of its images a random one of the next
    `spread` positions: a file is needed only during one stretch of the pass, and files are opened one by one.
    """
    generator = np.random.Generator(philox(seed, Stream.ORDER, pass_index))
    if grouping is None:
        return generator.permutation(n_images)
    places = generator.permutation(int(grouping.of.max()) + 1)
    return np.argsort(places[grouping.of] + grouping.spread * generator.random(n_images), kind="stable")


class CropPlan:
    """Determines the window of each sample k.

    Args:
        sizes: (H, W) of each HR image.
        patch_size: Side length of the LR patch in pixels.
        seed: Determines all samples, together with k.
        augment: Draw one of the eight dihedral transforms; otherwise code 0.
        permute_channels: Draw one of the six channel orders; otherwise RGB.
        grouping: Which images are stored together in a file; None: any order is equally good.
    """

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]],
        *,
        patch_size: int,
        seed: int,
        augment: bool = True,
        permute_channels: bool = False,
        grouping: Grouping | None = None,
    ) -> None:
        if not sizes:
            raise UserError("data.train_dir: no image is left to train on")
        self.sizes = list(sizes)
        self.patch_size = patch_size
        self.seed = seed
        self.augment = augment
        self.permute_channels = permute_channels
        self.grouping = grouping

    def crop(self, k: int, scale: int) -> Crop:
        """Returns sample k at a scale. Each pass shows every image once, in a new order.

        For an image smaller than the patch, the window starts at its origin (`window` mirrors the rest).
        """
        return self._crop(k, scale, random_bits(self.seed, Stream.WINDOW, k, 4))

    def crops(self, samples: range, scale: int) -> list[Crop]:
        """Returns successive samples as given by `crop`, in a third of the time."""
        streams = successive_bits(self.seed, Stream.WINDOW, samples, 4)
        return [self._crop(k, scale, bits) for k, bits in zip(samples, streams, strict=True)]

    def _crop(self, k: int, scale: int, bits: list[int]) -> Crop:
        pass_index, position = divmod(k, len(self.sizes))
        image = int(_order(self.seed, len(self.sizes), pass_index, self.grouping)[position])
        height, width = self.sizes[image]
        top, left, dihedral, order = bits
        return Crop(
            image=image,
            top=_below(top, max(height // scale - self.patch_size, 0) + 1),
            left=_below(left, max(width // scale - self.patch_size, 0) + 1),
            dihedral=_below(dihedral, 8) if self.augment else 0,
            colours=_ORDERS[_below(order, 6)] if self.permute_channels else RGB,
        )


def scale_of_batch(seed: int, batch: int, scales: Sequence[int]) -> int:
    """Returns the scale of one global batch in multi-scale training, the same on every rank."""
    if len(scales) == 1:
        return scales[0]
    return scales[_below(random_bits(seed, Stream.SCALE, batch, 1)[0], len(scales))]


def window(image: NDArray[np.uint8], top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
    """Crops a window that may extend past the border, where the image is mirrored (edge pixel included).

    Args:
        image: (H, W, 3) pixels.
        top: First row; may be negative, as may `left`.
        left: First column.
        height: Rows of the window.
        width: Columns of the window.

    Returns:
        (height, width, 3); a view if the window lies inside the image.
    """
    rows, columns = image.shape[:2]
    if top >= 0 and left >= 0 and top + height <= rows and left + width <= columns:
        return image[top : top + height, left : left + width]
    row, column = _mirrored(top, height, rows), _mirrored(left, width, columns)
    first = int(column.min())
    # First rows, then columns: this copies whole rows at once, whereas indexing both copies pixel by pixel.
    return image[:, first : int(column.max()) + 1].take(row, axis=0).take(column - first, axis=1)


def _mirrored(start: int, length: int, size: int) -> NDArray[np.int64]:
    """Returns indices of symmetric padding, as in MATLAB's padarray(…, 'symmetric'): 1 0 | 0 1 2 | 2 1."""
    index = np.arange(start, start + length) % (2 * size)
    return np.where(index < size, index, 2 * size - 1 - index)
