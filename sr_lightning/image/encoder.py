"""Encoding of image rows to a file: PNG and TIFF row by row, JPEG, WebP and AVIF at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from sr_lightning.errors import UserError
from sr_lightning.files import replacing_alone
from sr_lightning.image.metadata import Metadata
from sr_lightning.image.png_writer import write_png_rows
from sr_lightning.image.source_image import Levels
from sr_lightning.image.tiff_writer import write_tiff_rows
from sr_lightning.text import single_line

FormatName = Literal["png", "jpeg", "webp", "tiff", "avif"]
Quality = int | Literal["lossless"] | None
_JPEG_EXIF = 65_533 - 8  # a segment's length is stored in two bytes


@dataclass(frozen=True)
class Layout:
    """Size and pixel type of an image."""

    height: int
    width: int
    channels: int
    """1: grey, 2: grey and alpha, 3: RGB, 4: RGB and alpha."""
    bits: Literal[8, 16] = 8

    @property
    def levels(self) -> int:
        """The highest level."""
        return int(2**self.bits - 1)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Type of the rows."""
        return np.uint8 if self.bits == 8 else np.uint16

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha."""
        return self.channels % 2 == 0

    def __str__(self) -> str:
        kind = ("grey", "grey with alpha", "RGB", "RGBA")[self.channels - 1]
        return f"{kind}, {self.bits} bits a channel"


@dataclass(frozen=True)
class Format:
    """Capabilities of a file format."""

    suffixes: tuple[str, ...]
    """File suffixes; new files get the first."""
    max_side: int
    channels: tuple[int, ...]
    has_16_bits: bool
    default_quality: int | None = None

    def nearest(self, layout: Layout) -> Layout:
        """Returns the closest layout that the format supports."""
        channels = layout.channels
        if channels not in self.channels:
            channels = next(c for c in (channels + 2, channels - 1, channels + 1) if c in self.channels)
        return replace(layout, channels=channels, bits=layout.bits if self.has_16_bits else 8)


FORMATS: dict[FormatName, Format] = {
    "png": Format((".png",), 2**31 - 1, (1, 2, 3, 4), has_16_bits=True),
    "jpeg": Format((".jpg", ".jpeg", ".jfif"), 65_500, (1, 3), has_16_bits=False, default_quality=95),
    "webp": Format((".webp",), 16_383, (3, 4), has_16_bits=False, default_quality=95),
    "tiff": Format((".tif", ".tiff"), 2**31 - 1, (1, 2, 3, 4), has_16_bits=True),
    "avif": Format((".avif",), 65_535, (3, 4), has_16_bits=False, default_quality=90),
}


def format_of(path: Path) -> FormatName | None:
    """Returns the format for a file's suffix; None if no supported format has it."""
    suffix = path.suffix.lower()
    return next((name for name, entry in FORMATS.items() if suffix in entry.suffixes), None)


def is_available(name: FormatName) -> bool:
    """Returns whether this machine's Pillow can write the format."""
    return name not in ("webp", "avif") or bool(features.check(name))


def check_quality(name: FormatName, quality: Quality) -> str | None:
    """Returns what is wrong with a requested format and quality; None if nothing is."""
    if not is_available(name):
        return f"format: this machine's Pillow cannot write {name.upper()}; allowed: format=png"
    if quality == "lossless":
        is_lossless = FORMATS[name].default_quality is None or name == "webp"
        return None if is_lossless else f"quality: found lossless with {name.upper()}; allowed: 1 to 100, or WEBP"
    if quality is not None and FORMATS[name].default_quality is None:
        return f"quality: found {quality}, but {name.upper()} is lossless; allowed: format=jpeg, webp or avif"
    return None


def check_size(name: FormatName, height: int, width: int) -> str | None:
    """Returns why an image of this size cannot be written in a format; None if it can."""
    most = FORMATS[name].max_side
    if max(height, width) <= most:
        return None
    what = f"would be {width}x{height}, but {name.upper()} holds up to {most} pixels a side"
    return f"{what}; allowed: format=png, format=tiff"


def write_image(
    path: Path,
    rows: Iterable[Levels],
    layout: Layout,
    *,
    format: FormatName,
    metadata: Metadata | None = None,
    quality: Quality = None,
) -> None:
    """Writes an image atomically: completely or not at all.

    Args:
        path: The file; an existing one is replaced when the new one is complete.
        rows: Blocks (n, W, C) of successive rows, n of any size. PNG and TIFF write them as they come; the other
            formats need the whole image in memory.
        layout: Layout of the rows, which the format has to support (`Format.nearest`).
        format: Name of the format.
        metadata: Written as far as the format supports it.
        quality: 1 to 100 for JPEG, WebP and AVIF, or `lossless` for WebP.

    Raises:
        UserError: The image is too large for the format, or another process is writing the file.
        OSError: The file cannot be written.
    """
    if (finding := check_size(format, layout.height, layout.width)) is not None:
        raise UserError(f"{single_line(path)}: {finding}")
    metadata = metadata or Metadata()
    with replacing_alone(path) as part:
        if format == "png":
            write_png_rows(part, rows, layout, metadata)
        elif format == "tiff":
            write_tiff_rows(part, rows, layout, metadata)
        else:
            _write_at_once(part, rows, layout, format, metadata, quality)


def fitted(rows: Iterable[Levels], source: Layout, target: Layout) -> Iterator[Levels]:
    """Converts rows to another layout of the same bit depth: alpha is composited on white, grey is repeated."""
    for block in rows:
        if source.has_alpha and not target.has_alpha:
            block = _on_white(block, source.levels)
        if block.shape[2] <= 2 < target.channels:
            block = np.concatenate([np.repeat(block[..., :1], 3, axis=2), block[..., 1:]], axis=2)
        yield block


def _on_white(block: Levels, white: int) -> Levels:
    """Composites (n, W, C + 1) on white -> (n, W, C)."""
    colour, alpha = block[..., :-1].astype(np.uint64), block[..., -1:].astype(np.uint64)
    mixed: Levels = ((colour * alpha + white * (white - alpha) + white // 2) // white).astype(block.dtype)
    return mixed


def _write_at_once(
    path: Path, rows: Iterable[Levels], layout: Layout, format: FormatName, metadata: Metadata, quality: Quality
) -> None:
    pixels: NDArray[np.uint8] = np.empty((layout.height, layout.width, layout.channels), np.uint8)
    row = 0
    for block in rows:
        pixels[row : row + len(block)] = block
        row += len(block)
    image = Image.fromarray(pixels[:, :, 0] if layout.channels == 1 else pixels)
    options: dict[str, object] = {"lossless": True, "exact": True} if quality == "lossless" else {}
    if quality != "lossless":
        options["quality"] = quality or FORMATS[format].default_quality
    if format in ("jpeg", "avif"):
        options["subsampling"] = "4:4:4"  # super-resolution aims at sharp colour
    exif = metadata.exif_bytes(most=_JPEG_EXIF if format == "jpeg" else None)
    options |= {key: value for key, value in (("exif", exif), ("icc_profile", metadata.icc)) if value}
    if metadata.xmp is not None and not (format == "jpeg" and len(metadata.xmp) > _JPEG_EXIF - 64):
        options["xmp"] = metadata.xmp
    if metadata.dpi is not None and format == "jpeg":
        options["dpi"] = tuple(round(value) for value in metadata.dpi)
    image.save(path, format=format.upper(), **options)
