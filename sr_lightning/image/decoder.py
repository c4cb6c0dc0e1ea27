"""Decoding of image files to 8-bit RGB, with validation and a report of what is lost."""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from sr_lightning.errors import UserError
from sr_lightning.text import single_line

# A photograph is ten times smaller than Pillow's own limit of 179 megapixels.
MAX_PIXELS = 178_956_970
# Above this many pixels, a file must hold more than one byte per _MOST_PER_BYTE pixels: a decompression bomb of 100
# megapixels needs 97 KB as PNG, a photograph several MB.
_SUSPICIOUS_PIXELS = 2**25
_MOST_PER_BYTE = 500
# Pillow would also open formats that are programs: it passes PostScript to Ghostscript, whatever the file's name.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000", "AVIF", "TGA", "QOI")
_WHITE = (255, 255, 255, 255)
Loss = Literal[
    "16 bits a channel, which are rounded to 8",
    "several frames, of which the first is used",
    "transparent parts, which are put on white",
]
_SIXTEEN: Loss = "16 bits a channel, which are rounded to 8"
_FRAMES: Loss = "several frames, of which the first is used"
_ALPHA: Loss = "transparent parts, which are put on white"


class BadImageError(UserError):
    """The file's content is invalid; system errors (permissions, a failing disk) are a plain `UserError`."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(single_line(f"{path}: {reason}"))
        self.reason = reason


@dataclass(frozen=True)
class Decoded:
    """A decoded image, and what of its file is lost."""

    rgb: NDArray[np.uint8]
    """(H, W, 3)."""
    lost: tuple[Loss, ...]
    kind: str
    """Format of the file and Pillow's mode, such as `PNG RGBA`."""


def decode(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decodes any image to 8-bit RGB; the decoder of both training and evaluation.

    The format is determined by the content, not the name. EXIF orientation is applied. Transparent parts are composited
    on white. 16-bit levels are divided by 257 and rounded, never clipped. CMYK is converted by the standard formula.
    Embedded ICC profiles are not applied: a conversion would change the values that are compared. Of several frames,
    the first is used.

    Args:
        path: The file.
        max_pixels: Larger images are refused before decoding, as are large ones whose files are too small to hold them.

    Raises:
        BadImageError: Not an image, damaged, too large, or of an unknown value range; the message names the file.
        UserError: The file does not exist or cannot be read.
    """
    path = Path(path)
    with opened(path, max_pixels=max_pixels) as image:
        has_frames = count_frames(image) > 1
        if getattr(image, "n_frames", 1) > 1:
            image.seek(0)
        has_16_bits = holds_16_bits(image, path)
        kind = f"{image.format} {image.mode}"
        rgb, is_transparent = _opaque(_wide_pixels(image, path) if has_16_bits else _pixels(image))
    facts: dict[Loss, bool] = {_SIXTEEN: has_16_bits, _FRAMES: has_frames, _ALPHA: is_transparent}
    return Decoded(np.ascontiguousarray(rgb), tuple(lost for lost, is_so in facts.items() if is_so), kind)


def count_frames(image: Image.Image) -> int:
    """Counts the frames of an animation or pages of a document; previews in a photograph's file (MPO) do not count."""
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


@contextlib.contextmanager
def opened(path: Path, *, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Opens an image, checked but not decoded; errors while it is being decoded are reported as by `decode`.

    Raises:
        BadImageError: As in `decode`.
        UserError: The file does not exist or cannot be read.
    """
    try:
        with _QUIET, Image.open(path, formats=FORMATS) as image:
            _check(image, path, max_pixels)
            yield image
    except UnidentifiedImageError:
        raise BadImageError(path, _what_else(path)) from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # from the system, not the decoder
            raise UserError(f"{single_line(path)}: cannot be read: {error.strerror}") from None
        raise BadImageError(path, f"cannot be decoded: {error}") from None


def header_pixels(path: str | Path) -> int:
    """Returns the pixel count that a file's header states, without decoding; 0 if it cannot be read as an image."""
    try:
        with _QUIET, Image.open(path, formats=FORMATS) as image:
            return image.width * image.height
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        return 0


class _Quiet(contextlib.AbstractContextManager[None]):
    """Suppresses Pillow's warnings; our own checks decide.

    `warnings.catch_warnings` is not thread-safe: two that overlap restore the filters of the one that began later, and
    the process would never warn again. The first to enter therefore sets the filters, and the last to leave restores
    them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


_QUIET = _Quiet()


def _what_else(path: Path) -> str:
    with path.open("rb") as file:
        beginning = file.read(4)
    if beginning in (b"II*\0", b"MM\0*"):
        return "is a TIFF of an unknown kind; allowed: 8 or 16 bit, whole numbers"
    return f"is not an image ({path.stat().st_size} bytes of something else)"


def _check(image: Image.Image, path: Path, max_pixels: int) -> None:
    pixels = image.width * image.height
    what = f"is {image.width}x{image.height}"
    if pixels > max_pixels:
        raise BadImageError(path, f"{what}; allowed: up to {max_pixels / 1e6:.0f} megapixels")
    if pixels > _SUSPICIOUS_PIXELS and pixels > _MOST_PER_BYTE * (size := path.stat().st_size):
        raise BadImageError(path, f"{what} in {size} bytes; no photograph is packed so densely")
    if image.mode == "F":
        raise BadImageError(path, "holds floating-point values, whose range is undefined; allowed: 8 or 16 bit")
    if image.mode == "I" and image.format != "PPM":  # Pillow itself scales a PGM's levels to 16 bits
        raise BadImageError(path, "holds 32-bit values, whose range is undefined; allowed: 8 or 16 bit")


def holds_16_bits(image: Image.Image, path: Path) -> bool:
    """Returns whether an opened image has more than 8 bits per channel."""
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2.get(258, 8)
        depths = set(bits) if isinstance(bits, tuple) else {bits}
        is_planar = image.tag_v2.get(284, 1) == 2
        if not depths <= {1, 2, 4, 8, 16} or (depths == {16} and is_planar):  # Pillow misreads their bytes as levels
            raise BadImageError(path, "is a TIFF of an unknown kind; allowed: 8 or 16 bit, not in separate planes")
    return image.mode.startswith("I") or any(";16" in str(tile.args) for tile in _tiles(image))


def _tiles(image: Image.Image) -> list[Any]:
    return getattr(image, "tile", [])


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Returns (H, W, 3), or (H, W, 4) if there is transparency."""
    ImageOps.exif_transpose(image, in_place=True)
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return np.asarray(image if image.mode == mode else image.convert(mode))


def _opaque(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bool]:
    """Composites (H, W, 3 or 4) on white -> (H, W, 3), and whether anything was transparent."""
    if pixels.shape[2] == 3:
        return pixels, False
    rgba = Image.fromarray(pixels)
    on_white = Image.alpha_composite(Image.new("RGBA", rgba.size, _WHITE), rgba).convert("RGB")
    return np.asarray(on_white), bool(pixels[:, :, 3].min() < 255)


def _wide_pixels(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """Converts 16 bits per channel to (H, W, 3 or 4) uint8: divided by 257, rounded."""
    transparent = image.info.get("transparency")
    levels = wide_levels(image, path)  # (H, W, C)
    rounded = ((levels * 2 + 257) // 514).astype(np.uint8)
    if levels.shape[2] == 1:
        rounded = np.repeat(rounded, 3, axis=2)
    if transparent is not None:
        alpha = np.where((levels == np.array(transparent)).all(axis=2, keepdims=True), 0, 255).astype(np.uint8)
        rounded = np.concatenate([rounded, alpha], axis=2)
    return rounded


def wide_levels(image: Image.Image, path: Path) -> NDArray[np.int64]:
    """Returns (H, W, C) from 0 to 65535; as Pillow has no 16-bit colour, high and low bytes are read separately."""
    if image.mode.startswith("I"):
        ImageOps.exif_transpose(image, in_place=True)
        return np.asarray(image, dtype=np.int64)[:, :, None]
    with Image.open(path, formats=FORMATS) as other:
        swapped = [tile._replace(args=_other_byte(tile.args)) for tile in _tiles(other)]
        other.tile = swapped
        ImageOps.exif_transpose(image, in_place=True)
        try:
            ImageOps.exif_transpose(other, in_place=True)
        except ValueError:  # grey with alpha has no such reader; the high bytes alone are off by less than one level
            return np.asarray(image, dtype=np.int64) * 257
        return np.asarray(image, dtype=np.int64) * 256 + np.asarray(other, dtype=np.int64)


def _other_byte(args: Any) -> Any:
    """Swaps the byte order in a decoder's arguments, so that it takes the low byte for the high one."""
    rawmode = args if isinstance(args, str) else args[0]
    order = {"N": "B" if sys.byteorder == "little" else "L", "L": "B", "B": "L"}[rawmode[-1]]
    swapped = rawmode[:-1] + order
    return swapped if isinstance(args, str) else (swapped, *args[1:])
