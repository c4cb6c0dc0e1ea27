"""Strip-by-strip TIFF writer on top of tifffile: 8 or 16 bits, any number of channels, even above 4 GB."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from sr_lightning.image.metadata import Metadata

if TYPE_CHECKING:
    from sr_lightning.image.encoder import Layout
    from sr_lightning.image.source_image import Levels

_STRIP_BYTES = 2**20
_BIG = 2**31  # from here on, offsets may not fit into 32 bits
_ASCII, _BYTE, _LONG = 2, 1, 4
_XMP = 700
_RESOLUTION = (ExifTags.Base.XResolution, ExifTags.Base.YResolution, ExifTags.Base.ResolutionUnit)


def write_tiff_rows(path: Path, rows: Iterable[Levels], layout: Layout, metadata: Metadata) -> None:
    """Writes an image as its rows arrive, with lossless compression (deflate, horizontal differencing).

    Args:
        path: The file.
        rows: Blocks (n, W, C) of successive rows.
        layout: Layout of the rows.
        metadata: Written as tags; the Exif and GPS directories only below 2 GB.
    """
    import tifffile

    shape = (layout.height, layout.width, *([layout.channels] if layout.channels > 1 else []))
    n_bytes = layout.height * layout.width * layout.channels * layout.bits // 8
    rows_per_strip = max(1, _STRIP_BYTES * layout.height // n_bytes)
    directories = {tag: value for tag, value in metadata.exif.items() if isinstance(value, dict)}
    if n_bytes >= _BIG:
        directories = {}
    tags = list(_tags(metadata)) + [(int(tag) - 1, _LONG, 1, 0, True) for tag in directories]
    with tifffile.TiffWriter(path, bigtiff=n_bytes >= _BIG, byteorder="<") as writer:
        writer.write(
            _strips(rows, layout, rows_per_strip),
            shape=shape,
            dtype=layout.dtype,
            photometric="rgb" if layout.channels >= 3 else "minisblack",
            planarconfig="contig" if layout.channels > 1 else None,
            extrasamples=["unassalpha"] if layout.has_alpha else None,
            compression="zlib",
            predictor=True,
            rowsperstrip=rows_per_strip,
            iccprofile=metadata.icc,
            resolution=metadata.dpi,
            resolutionunit="inch" if metadata.dpi else None,
            software=False,
            metadata=None,
            extratags=tags,
        )
    if directories:
        _append_directories(path, directories)


def _strips(rows: Iterable[Levels], layout: Layout, n: int) -> Iterator[bytes]:
    """Yields strips of n rows each; the last holds the remainder."""
    held: Any = np.empty((0, layout.width, layout.channels), layout.dtype)
    for block in rows:
        held = np.concatenate([held, block]) if len(held) else block
        while len(held) >= n:
            yield _packed(held[:n])
            held = held[n:]
    if len(held):
        yield _packed(held)


def _packed(strip: NDArray[Any]) -> bytes:
    differences = strip.copy()
    np.subtract(strip[:, 1:], strip[:, :-1], out=differences[:, 1:])
    return zlib.compress(differences.astype(differences.dtype.newbyteorder("<")).data, 1)


def _tags(metadata: Metadata) -> Iterator[tuple[int, int, int, Any, bool]]:
    """Yields tags in tifffile's form: code, type, count, value, write once."""
    for tag, value in metadata.exif.items():
        if isinstance(value, str) and tag not in _RESOLUTION:
            yield int(tag), _ASCII, 0, value.encode("ascii", "replace").decode(), True
        elif isinstance(value, bytes):
            yield int(tag), _BYTE, len(value), value, True
    if metadata.xmp is not None:
        yield _XMP, _BYTE, len(metadata.xmp), metadata.xmp, True


def _append_directories(path: Path, directories: dict[int, dict[int, Any]]) -> None:
    """Appends the Exif and GPS directories to the file, and points their tags to them.

    tifffile does not write these two tags, so each was written under the preceding, unused tag number.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        entries = {tag: (tags[tag - 1].offset, tags[tag - 1].valueoffset) for tag in directories}
    with path.open("r+b") as part:
        for tag, content in directories.items():
            directory = ImageFileDirectory_v2(ifh=b"II*\0\0\0\0\0")
            for key, value in content.items():
                if not isinstance(value, dict):
                    directory[key] = value
            place = part.seek(0, 2)
            place += part.write(b"\0" * (place % 2))  # a directory begins at an even offset
            part.write(directory.tobytes(place))
            entry, value_at = entries[tag]
            part.seek(entry)
            part.write(struct.pack("<H", tag))
            part.seek(value_at)
            part.write(struct.pack("<I", place))
