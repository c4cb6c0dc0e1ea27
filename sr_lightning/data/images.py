"""A set of images as the rest of the program sees it: HR images by number, and their LR images where they are ready."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sr_lightning.errors import UserError
from sr_lightning.text import listed

Size = tuple[int, int]
"""(H, W)."""


@dataclass(frozen=True, eq=False)
class Grouping:
    """Images that lie together in files, which are best read one after the other."""

    of: NDArray[np.int64]
    """(N,): the number of the file of each image."""
    spread: int
    """So many files lie open at a time: the more, the better mixed."""


class DecodedImages(Protocol):
    """Images by number: `images[i]` is (H, W, 3) uint8."""

    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...


class ImageSource(DecodedImages, Protocol):
    """Decoded images, and what is known of each."""

    key: str
    """Stands for the pixels, in this order."""
    grouping: Grouping | None
    """Which images are best read one after the other; None: any order is as good."""

    @property
    def sizes(self) -> Sequence[Size]:
        """(H, W) of each image."""

    @property
    def paths(self) -> Sequence[Path]:
        """The file of each image."""

    def __len__(self) -> int: ...

    def derived_file(self, suffix: str) -> Path:
        """A file for what else is worth keeping of these images; it goes by their content, as the source does."""


@dataclass(frozen=True)
class Images:
    """A set of HR images and, where they are ready-made, their LR images at each scale."""

    name: str
    hr: ImageSource
    lr: Mapping[int, ImageSource] | None = None

    def check_pairs(self) -> None:
        """Raises UserError unless each LR image is its HR image, cropped to a multiple, over the scale; names all."""
        found = [
            line
            for scale, lr in (self.lr or {}).items()
            for line in mismatches(self.hr.paths, self.hr.sizes, lr.paths, lr.sizes, scale)
        ]
        if found:
            raise UserError(listed(found))


def mismatches(
    hr: Sequence[Path], hr_sizes: Sequence[Size], lr: Sequence[Path], lr_sizes: Sequence[Size], scale: int
) -> Iterator[str]:
    """A line for each pair whose sizes do not fit."""
    for i, ((height, width), size) in enumerate(zip(hr_sizes, lr_sizes, strict=True)):
        needed = height // scale, width // scale
        if size != needed:
            yield (
                f"{lr[i]}: is {size[1]}x{size[0]}, but {hr[i]} is {width}x{height}, which at x{scale} "
                f"needs {needed[1]}x{needed[0]}"
            )


def multiple_of(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """HR is only ever cropped to a multiple of the scale, never resized."""
    return image[: image.shape[0] // scale * scale, : image.shape[1] // scale * scale]
