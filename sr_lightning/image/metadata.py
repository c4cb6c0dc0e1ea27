"""Metadata of an image: colour profile, EXIF, XMP and resolution, read and adapted to the enlargement."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import ExifTags, Image, ImageOps

# Tags that describe the photograph; the other tags of a TIFF's first directory describe how its pixels are stored.
DESCRIPTIVE = (
    *(270, 271, 272, 282, 283, 296, 305, 306, 315, 316),  # description, camera, resolution, software, time, artist
    *(0x4746, 0x4749, 33432),  # rating, copyright
    *range(40091, 40096),  # title, comment, author, keywords and subject, as Windows writes them
)
_SUB_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_SOFTWARE, HISTORY = ExifTags.Base.Software, 0x9213  # ImageHistory: "a record of what has been done to the image"
_WIDTH, _HEIGHT = ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight
_XMP_SIZES = {"PixelXDimension": 0, "ImageWidth": 0, "PixelYDimension": 1, "ImageLength": 1}
_COLOUR_SPACES = {b"GRAY": 1, b"RGB ": 3}


@dataclass(frozen=True)
class Metadata:
    """Metadata of an image file."""

    icc: bytes | None = None
    """ICC colour profile."""
    exif: dict[int, Any] = field(default_factory=dict)
    """Tags of the first directory, and the Exif and GPS directories as dictionaries; without orientation."""
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None

    def for_output(self, size: tuple[int, int], channels: int) -> Metadata:
        """Adapts the metadata to an enlargement: updates stored sizes, drops a profile of another colour space.

        Args:
            size: (H, W).
            channels: 1 to 4, as in `image.encoder.Layout`.
        """
        height, width = size
        exif = {tag: dict(value) if isinstance(value, dict) else value for tag, value in self.exif.items()}
        if ExifTags.IFD.Exif in exif:
            exif[ExifTags.IFD.Exif] |= {_WIDTH: width, _HEIGHT: height}
        xmp = None if self.xmp is None else _resized_xmp(self.xmp, (width, height))
        return replace(self, icc=self.icc if self.fits(channels) else None, exif=exif, xmp=xmp)

    def fits(self, channels: int) -> bool:
        """Returns whether the colour profile suits this many channels, or there is none."""
        return self.icc is None or _COLOUR_SPACES.get(self.icc[16:20]) == (1 if channels <= 2 else 3)

    def with_history(self, software: str, history: str) -> Metadata:
        """Adds the program that made the image, and the record of what it did (ASCII)."""
        return replace(self, exif=self.exif | {_SOFTWARE: software, HISTORY: history})

    def exif_bytes(self, *, most: int | None = None) -> bytes:
        """Returns the EXIF block with its six-byte header; empty if there is nothing to write.

        Args:
            most: Maximum number of bytes that the format allows. If exceeded, the camera maker's notes are dropped
                first, then everything but the history.
        """
        for exif in self._shortened():
            block = Image.Exif()
            for tag, value in exif.items():
                block[tag] = value
            with suppress(struct.error, TypeError, ValueError, OverflowError):  # tags of a type that cannot be written
                written = block.tobytes() if exif else b""
                if most is None or len(written) <= most:
                    return written
        return b""

    def _shortened(self) -> Iterator[dict[int, Any]]:
        yield self.exif
        details = self.exif.get(ExifTags.IFD.Exif, {})
        if ExifTags.Base.MakerNote in details:
            kept = {tag: value for tag, value in details.items() if tag != ExifTags.Base.MakerNote}
            yield self.exif | {ExifTags.IFD.Exif: kept}
        yield {tag: self.exif[tag] for tag in (_SOFTWARE, HISTORY) if tag in self.exif}


def read_metadata(image: Image.Image) -> Metadata:
    """Reads the metadata of an opened image, which is made upright in place (`ImageOps.exif_transpose`)."""
    ImageOps.exif_transpose(image, in_place=True)
    icc = image.info.get("icc_profile")
    xmp = image.info.get("xmp", image.info.get("XML:com.adobe.xmp"))
    dpi = image.info.get("dpi")
    return Metadata(
        icc=icc if isinstance(icc, bytes) and len(icc) > 128 else None,
        exif=_exif(image),
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        dpi=(float(dpi[0]), float(dpi[1])) if isinstance(dpi, tuple) and min(dpi) > 0 else None,
    )


def read_history(image: Image.Image) -> str | None:
    """Reads what `Metadata.with_history` wrote, from the header."""
    try:
        history = image.getexif().get(HISTORY)
    except (SyntaxError, ValueError, OSError, struct.error):
        return None
    return history if isinstance(history, str) else None


def _exif(image: Image.Image) -> dict[int, Any]:
    """Reads the descriptive tags; empty if the block is unreadable."""
    try:
        source = image.getexif()
        exif: dict[int, Any] = {tag: source[tag] for tag in DESCRIPTIVE if tag in source}
        for directory in _SUB_DIRECTORIES:
            if tags := dict(source.get_ifd(directory)):
                exif[int(directory)] = tags
    except (SyntaxError, ValueError, OSError, KeyError, struct.error):
        return {}
    return exif


def _resized_xmp(xmp: bytes, size: tuple[int, int]) -> bytes:
    for name, axis in _XMP_SIZES.items():
        pattern = rb'(:%s(?:="|>))\d+(?=["<])' % name.encode()
        xmp = re.sub(pattern, rb"\g<1>" + str(size[axis]).encode(), xmp)
    return xmp
