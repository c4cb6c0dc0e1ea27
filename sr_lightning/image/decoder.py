"""Decoder of image files to 8-bit RGB, with what is wrong with a file and what of it is lost."""

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

# A photograph is ten times smaller than Pillow's own limit, which stands at 179 megapixels.
MAX_PIXELS = 178_956_970
# Above this many pixels a file has to hold more than one byte for every _MOST_PER_BYTE of them: a bomb of 100
# megapixels needs 97 KB as PNG, a photograph several MB.
_SUSPICIOUS_PIXELS = 2**25
_MOST_PER_BYTE = 500
# Pillow would also open formats that are programs: it hands PostScript to Ghostscript, whatever the file's name is.
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
    """A file's content is at fault; what the system refuses (permissions, a failing disk) is a plain `UserError`."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(single_line(f"{path}: {reason}"))
        self.reason = reason


@dataclass(frozen=True)
class Decoded:
    """An image and what of its file is not in it."""

    rgb: NDArray[np.uint8]
    """(H, W, 3)."""
    lost: tuple[Loss, ...]
    kind: str
    """Format and Pillow's mode of the file, `PNG RGBA`."""


def decode(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decodes any image to 8-bit RGB; the one decoder of training and evaluation.

    The content decides the format, not the name. EXIF orientation is applied. Transparent parts are put on white.
    16-bit levels are divided by 257 and rounded, never clipped. CMYK is converted by its formula. The numbers of an
    embedded ICC profile are kept as they are: a conversion would change what is compared. Of several frames the
    first is taken.

    Args:
        path: The file.
        max_pixels: Larger images are refused before they are decoded, and large ones that their files cannot hold.

    Raises:
        BadImageError: Not an image, damaged, too large, or of values whose range is unknown; it names the file.
        UserError: The file is not there or cannot be read.
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
    """Frames of an animation, pages of a document; the previews in a photograph's file (MPO) are not counted."""
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


@contextlib.contextmanager
def opened(path: Path, *, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Opens an image, checked but not decoded; what goes wrong while it is decoded is told as `decode` tells it.

    Raises:
        BadImageError: As in `decode`.
        UserError: The file is not there or cannot be read.
    """
    try:
        with _QUIET, Image.open(path, formats=FORMATS) as image:
            _check(image, path, max_pixels)
            yield image
    except UnidentifiedImageError:
        raise BadImageError(path, _what_else(path)) from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not the decoder's
            raise UserError(f"{single_line(path)}: cannot be read: {error.strerror}") from None
        raise BadImageError(path, f"cannot be decoded: {error}") from None


def header_pixels(path: str | Path) -> int:
    """How many pixels a file's header promises, without decoding it; 0 where it cannot be read as an image's."""
    try:
        with _QUIET, Image.open(path, formats=FORMATS) as image:
            return image.width * image.height
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        return 0


class _Quiet(contextlib.AbstractContextManager[None]):
    """Keeps Pillow's warnings back; our checks decide.

    `warnings.catch_warnings` is not made for threads: two that overlap leave the filters of the one that began later,
    and the process would warn of nothing any more. So the first to come sets them and the last to go puts them back.
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
    if image.mode == "I" and image.format != "PPM":  # Pillow scales a PGM's levels itself, to 16 bits
        raise BadImageError(path, "holds 32-bit values, whose range is undefined; allowed: 8 or 16 bit")


def holds_16_bits(image: Image.Image, path: Path) -> bool:
    """Whether an opened image has more than 8 bits a channel."""
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2.get(258, 8)
        depths = set(bits) if isinstance(bits, tuple) else {bits}
        is_planar = image.tag_v2.get(284, 1) == 2
        if not depths <= {1, 2, 4, 8, 16} or (depths == {16} and is_planar):  # Pillow takes bytes of them for levels
            raise BadImageError(path, "is a TIFF of an unknown kind; allowed: 8 or 16 bit, not in separate planes")
    return image.mode.startswith("I") or any(";16" in str(tile.args) for tile in _tiles(image))


def _tiles(image: Image.Image) -> list[Any]:
    return getattr(image, "tile", [])


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3), or 4 where there is transparency."""
    ImageOps.exif_transpose(image, in_place=True)
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return np.asarray(image if image.mode == mode else image.convert(mode))


def _opaque(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bool]:
    """(H, W, 3 or 4) -> (H, W, 3) on white, and whether anything was transparent."""
    if pixels.shape[2] == 3:
        return pixels, False
    rgba = Image.fromarray(pixels)
    on_white = Image.alpha_composite(Image.new("RGBA", rgba.size, _WHITE), rgba).convert("RGB")
    return np.asarray(on_white), bool(pixels[:, :, 3].min() < 255)


def _wide_pixels(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """(H, W, 3 or 4) of 16 bits a channel: divided by 257, rounded."""
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
    """(H, W, C) from 0 to 65535. Pillow has no mode for wide colour: the two bytes are read one after the other."""
    if image.mode.startswith("I"):
        ImageOps.exif_transpose(image, in_place=True)
        return np.asarray(image, dtype=np.int64)[:, :, None]
    with Image.open(path, formats=FORMATS) as other:
        swapped = [tile._replace(args=_other_byte(tile.args)) for tile in _tiles(other)]
        other.tile = swapped
        ImageOps.exif_transpose(image, in_place=True)
        try:
            ImageOps.exif_transpose(other, in_place=True)
        except ValueError:  # grey with alpha has no such reader; the high bytes alone are less than a level off
            return np.asarray(image, dtype=np.int64) * 257
        return np.asarray(image, dtype=np.int64) * 256 + np.asarray(other, dtype=np.int64)


def _other_byte(args: Any) -> Any:
    """A decoder's arguments with the byte order turned about: what it takes for the high byte is then the low one."""
    rawmode = args if isinstance(args, str) else args[0]
    order = {"N": "B" if sys.byteorder == "little" else "L", "L": "B", "B": "L"}[rawmode[-1]]
    swapped = rawmode[:-1] + order
    return swapped if isinstance(args, str) else (swapped, *args[1:])
