"""Image sets as seen by the rest of the program: HR images by number, and their LR images if ready-made."""

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
    """Images stored together in files, which are best read one after the other."""

    of: NDArray[np.int64]
    """(N,): the file number of each image."""
    spread: int
    """Number of files open at a time: the more, the better the shuffling."""


class DecodedImages(Protocol):
    """Images by number: `images[i]` is (H, W, 3) uint8."""

    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...


class ImageSource(DecodedImages, Protocol):
    """Decoded images, with their sizes, paths and content key."""

    key: str
    """Identifies the pixels of all images, in this order."""
    grouping: Grouping | None
    """Which images are best read one after the other; None: any order is equally good."""

    @property
    def sizes(self) -> Sequence[Size]:
        """(H, W) of each image."""

    @property
    def paths(self) -> Sequence[Path]:
        """The file of each image."""

    def __len__(self) -> int: ...

    def derived_file(self, suffix: str) -> Path:
        """Returns the path of a file for data derived from these images; like the source, it is keyed by content."""


@dataclass(frozen=True)
class Images:
    """A set of HR images and, if ready-made, their LR images at each scale."""

    name: str
    hr: ImageSource
    lr: Mapping[int, ImageSource] | None = None

    def check_pairs(self) -> None:
        """Raises UserError, naming all misfits, unless each LR size is the HR size // scale."""
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
    """Yields a line for each pair whose sizes do not fit."""
    for i, ((height, width), size) in enumerate(zip(hr_sizes, lr_sizes, strict=True)):
        needed = height // scale, width // scale
        if size != needed:
            yield (
                f"{lr[i]}: is {size[1]}x{size[0]}, but {hr[i]} is {width}x{height}, which at x{scale} "
                f"needs {needed[1]}x{needed[0]}"
            )


def multiple_of(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Crops HR to a multiple of the scale; HR is never resized."""
    return image[: image.shape[0] // scale * scale, : image.shape[1] // scale * scale]
