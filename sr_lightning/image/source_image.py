"""Reading of image files at full depth: all channels, upright, with metadata."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from sr_lightning.errors import UserError
from sr_lightning.image.decoder import (
    FORMATS,
    MAX_PIXELS,
    BadImageError,
    count_frames,
    holds_16_bits,
    opened,
    wide_levels,
)
from sr_lightning.image.metadata import Metadata, read_metadata
from sr_lightning.image.tiff_reader import read_grey_alpha_tiff

Levels = NDArray[Any]  # uint8 or uint16
_TURNED = (5, 6, 7, 8)  # orientations that swap height and width


@dataclass(frozen=True)
class SourceImage:
    """An image with the channels and bit depth of its file."""

    levels: Levels
    """(H, W, C), uint8 or uint16; C = 1: grey, 2: grey and alpha, 3: RGB, 4: RGB and alpha (not premultiplied)."""
    metadata: Metadata
    kind: str
    """Format of the file and Pillow's mode, such as `PNG RGBA`."""
    changes: tuple[str, ...] = ()
    """What differs from the file, as phrases about such images in general."""


def read_source(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> SourceImage:
    """Reads an image without reducing it to 8-bit RGB as `decode` does; refuses the same files.

    Palettes are expanded to their colours, bilevel images become grey, CMYK becomes sRGB (through the embedded profile,
    or by the standard formula if there is none).

    Args:
        path: The file.
        max_pixels: As in `decode`.

    Raises:
        BadImageError: As in `decode`, or the file has several frames.
        UserError: The file does not exist or cannot be read.
    """
    path = Path(path)
    try:
        return _read(path, max_pixels)
    except BadImageError:
        if (found := _grey_alpha_tiff(path, max_pixels)) is None:
            raise
    return found


def source_size(path: Path) -> tuple[int, int]:
    """Returns the (H, W) that `read_source` would give, from the file's header.

    Raises:
        BadImageError: As in `read_source`, except for damage beyond the header.
        UserError: The file does not exist or cannot be read.
    """
    try:
        with opened(path) as image:
            refuse_frames(image, path)
            # For a TIFF, Pillow already reports the upright size.
            is_turned = image.format != "TIFF" and image.getexif().get(274) in _TURNED
            return image.size if is_turned else image.size[::-1]
    except BadImageError:
        if (found := _grey_alpha_tiff(path, MAX_PIXELS)) is None:
            raise
    return found.levels.shape[0], found.levels.shape[1]


def _grey_alpha_tiff(path: Path, max_pixels: int) -> SourceImage | None:
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    found = read_grey_alpha_tiff(path, max_pixels=max_pixels)
    return None if found is None else SourceImage(*found, "TIFF LA;16")


def _read(path: Path, max_pixels: int) -> SourceImage:
    with opened(path, max_pixels=max_pixels) as image:
        refuse_frames(image, path)
        kind = f"{image.format} {image.mode}"
        if holds_16_bits(image, path):
            return _wide(image, path, kind)
        metadata = read_metadata(image)
        flat, metadata, changes = _plain(image, metadata)
        levels = np.array(flat)  # a writable copy, as torch requires
    return SourceImage(levels if levels.ndim == 3 else levels[:, :, None], metadata, kind, changes)


def from_pillow(image: Image.Image) -> SourceImage:
    """Like `read_source`, for an image in memory, which is not modified.

    Raises:
        UserError: It has floating-point or 32-bit values, whose range is undefined.
    """
    kind = f"{image.format or 'image'} {image.mode}"
    if image.mode in ("F", "I"):
        raise UserError(f"{kind}: holds values whose range is undefined; allowed: 8 or 16 bit")
    upright = image.copy()
    metadata = read_metadata(upright)
    if upright.mode.startswith("I;16"):
        return SourceImage(np.asarray(upright).astype(np.uint16)[:, :, None], metadata, kind)
    flat, metadata, changes = _plain(upright, metadata)
    levels = np.array(flat)
    return SourceImage(levels if levels.ndim == 3 else levels[:, :, None], metadata, kind, changes)


def refuse_frames(image: Image.Image, path: Path) -> None:
    """Refuses animations and multi-page files.

    Raises:
        BadImageError: The file has several frames.
    """
    if (frames := count_frames(image)) > 1:
        raise BadImageError(path, f"has {frames} frames; allowed: one (each frame in a file of its own)")


def _plain(image: Image.Image, metadata: Metadata) -> tuple[Image.Image, Metadata, tuple[str, ...]]:
    """Converts an 8-bit image to one of the modes L, LA, RGB and RGBA."""
    mode = image.mode
    if mode == "CMYK":
        return _cmyk(image, metadata)
    if mode == "P":
        is_clear = image.has_transparency_data
        change = "palettes become RGB: an enlargement has more colours than its palette"
        return image.convert("RGBA" if is_clear else "RGB"), metadata, (change,)
    if mode == "1":
        return image.convert("L"), metadata, ("bilevel images become greyscale",)
    if mode in ("L", "LA"):
        return image.convert("LA") if image.has_transparency_data and mode == "L" else image, metadata, ()
    if mode in ("RGB", "RGBA"):
        return image.convert("RGBA") if image.has_transparency_data and mode == "RGB" else image, metadata, ()
    target = "RGBA" if image.has_transparency_data else "RGB"
    return image.convert(target), replace(metadata, icc=None), (f"images of mode {mode} become {target}",)


def _cmyk(image: Image.Image, metadata: Metadata) -> tuple[Image.Image, Metadata, tuple[str, ...]]:
    without = replace(metadata, icc=None)
    if metadata.icc is not None:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(metadata.icc))
            converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except ImageCms.PyCMSError:
            pass
        else:
            assert converted is not None
            return converted, without, ("CMYK becomes sRGB through the embedded profile",)
    return image.convert("RGB"), without, ("CMYK without a profile becomes RGB by its formula",)


def _wide(image: Image.Image, path: Path, kind: str) -> SourceImage:
    """Reads an image with 16 bits per channel."""
    transparent = image.info.get("transparency")
    if any("LA;16" in str(tile.args) for tile in getattr(image, "tile", [])):
        levels: NDArray[np.uint16] = _grey_alpha_16(path)
    else:
        levels = wide_levels(image, path).astype(np.uint16)
    if transparent is not None:
        alpha = np.where((levels == np.array(transparent)).all(axis=2, keepdims=True), 0, 65535)
        levels = np.concatenate([levels, alpha.astype(np.uint16)], axis=2)
    return SourceImage(levels, read_metadata(image), kind)


def _grey_alpha_16(path: Path) -> NDArray[np.uint16]:
    """Reads upright (H, W, 2); Pillow has no reader for it, so the four bytes of a pixel are read as an RGBA pixel."""
    with Image.open(path, formats=FORMATS) as image:
        image._mode = "RGBA"
        image.tile = [tile._replace(args="RGBA") for tile in image.tile]
        ImageOps.exif_transpose(image, in_place=True)
        pairs = np.asarray(image).astype(np.uint16)  # (H, W, 4): high and low byte of grey, then of alpha
    return pairs[..., ::2] * 256 + pairs[..., 1::2]
