"""Selection, cropping and lossless encoding of test images for the page, within a size budget."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from sr_lightning.report.entries import At, Image
from sr_lightning.report.ranking import Group, per_image

Pixels = NDArray[np.uint8]
"""(H, W, 3)."""
MOST_METHODS = 8
"""Maximum number of methods shown besides HR and bicubic, because there are ten number keys."""
MEDIA_TYPE = "image/webp"
_SIDES = (512, 448, 384, 320, 288, 256, 224, 192, 160, 128)  # crop sides in HR pixels; the first that fits is used
_SPOTS = 3
_BASE64 = 4 / 3


@dataclass(frozen=True)
class Versions:
    """One test image in all its versions: HR, bicubic, and each method's result."""

    at: At
    image: Image
    hr: Pixels
    bicubic: Pixels
    methods: Mapping[int, Pixels]
    """Index of a contender in its group -> its SR image."""

    def all(self) -> list[Pixels]:
        """Returns HR, bicubic, and the methods in order."""
        return [self.hr, self.bicubic, *(self.methods[i] for i in sorted(self.methods))]


@dataclass(frozen=True)
class Encoded:
    """The part of an image that is embedded in the page, encoded."""

    versions: Versions
    left: int
    top: int
    width: int
    height: int
    files: Sequence[bytes]
    """In the order of `Versions.all`."""
    spots: Sequence[tuple[int, int, int]]
    """(x, y, side) within the crop: where the methods differ most."""

    @property
    def is_whole(self) -> bool:
        """Whether the image is not cropped."""
        return (self.height, self.width) == self.versions.hr.shape[:2]


def choose_images(group: Group, most: int) -> list[tuple[At, Image]]:
    """Selects the images on which a group's methods differ most in PSNR; for a single method, differ from bicubic.

    Args:
        group: The group.
        most: Maximum number of images.
    """
    found: list[tuple[float, int, At, Image]] = []
    for at in group.sets:
        tables = [per_image(r.contender, at, "psnr_y") for r in group.ranked]
        tables = [table for table in tables if table]
        if len(tables) == 1:
            tables.append(per_image(group.ranked[0].contender, at, "bicubic_psnr_y"))
        for image in tables[0] if tables else ():
            values = [table[image] for table in tables if image in table and math.isfinite(table[image])]
            found.append((max(values) - min(values) if values else 0.0, len(found), at, image))
    found.sort(key=lambda entry: (-entry[0], entry[1]))
    return [(at, image) for _, _, at, image in found[:most]]


def fit(images: Sequence[Versions], budget: int) -> list[Encoded]:
    """Encodes images so that together they take at most `budget` bytes as base64.

    Whole images if they fit; else crops of one size around the place where the methods differ most; and if even the
    smallest crops do not fit, only the first images.

    Args:
        images: Images in descending order of importance.
        budget: Available bytes.
    """
    for side in (None, *_SIDES):
        if images and _estimate(images, side) <= budget:
            found = [_encoded(versions, side) for versions in images]
            if _size(found) <= budget:
                return found
    found = []
    for versions in images:
        encoded = _encoded(versions, _SIDES[-1])
        if _size([*found, encoded]) > budget:
            break
        found.append(encoded)
    return found


def difference_map(versions: Versions) -> NDArray[np.float32]:
    """Range of the methods' results at each pixel, (H, W); for a single method, its distance from bicubic."""
    own = list(versions.methods.values())
    own = own if len(own) > 1 else [versions.bicubic, *own]
    # (N, H, W): means over channels
    grey = np.stack([pixels.mean(-1, dtype=np.float32) for pixels in own])
    return np.asarray(grey.max(0) - grey.min(0), np.float32)


def places(values: NDArray[np.float32], side: int, count: int) -> list[tuple[int, int]]:
    """Returns (top, left) of the non-overlapping windows with the largest means, in descending order.

    Args:
        values: (H, W).
        side: Side of the windows, not larger than H and W.
        count: Maximum number of windows.
    """
    height, width = values.shape
    sums = np.zeros((height + 1, width + 1))
    sums[1:, 1:] = values.cumsum(0, dtype=np.float64).cumsum(1)
    means = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    found: list[tuple[int, int]] = []
    while len(found) < count and np.isfinite(means).any():
        top, left = divmod(int(means.argmax()), means.shape[1])
        found.append((top, left))
        means[max(0, top - side + 1) : top + side, max(0, left - side + 1) : left + side] = -np.inf
    return found


def _encoded(versions: Versions, side: int | None) -> Encoded:
    height, width = versions.hr.shape[:2]
    values = difference_map(versions)
    rows, columns = (min(length, side or length) for length in (height, width))
    top = left = 0
    if (rows, columns) != (height, width):
        window = min(rows, columns)
        ((top, left),) = places(values, window, 1)
        top, left = min(top, height - rows), min(left, width - columns)
    part = (slice(top, top + rows), slice(left, left + columns))
    spot = max(min(48, rows // 3, columns // 3), 1)
    spots = [(x, y, spot) for y, x in places(values[part], spot, _SPOTS)]
    files = [_webp(pixels[part]) for pixels in versions.all()]
    return Encoded(versions, left, top, columns, rows, files, spots)


def _webp(pixels: Pixels) -> bytes:
    """Encodes losslessly; about three quarters of the size of a PNG."""
    file = io.BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(pixels)).save(file, "WEBP", lossless=True, quality=40, method=2)
    return file.getvalue()


def _size(images: Sequence[Encoded]) -> int:
    return math.ceil(_BASE64 * sum(len(file) for image in images for file in image.files))


def _estimate(images: Sequence[Versions], side: int | None) -> float:
    """Estimates the total bytes from the centres of a few images."""
    density = []
    for versions in images[:: max(1, len(images) // 5)]:
        height, width = versions.hr.shape[:2]
        part = (slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
        middles = [pixels[part] for pixels in versions.all()[:: max(1, len(versions.methods))]]
        density.append(sum(len(_webp(m)) for m in middles) / max(1, sum(m.size // 3 for m in middles)))
    count = 0
    for versions in images:
        height, width = versions.hr.shape[:2]
        count += min(height, side or height) * min(width, side or width) * (2 + len(versions.methods))
    return 0.9 * _BASE64 * count * sum(density) / len(density)
