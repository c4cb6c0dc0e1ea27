"""TIFF files with 16-bit grey and alpha, which Pillow cannot read, through tifffile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr_lightning.image.decoder import BadImageError
from sr_lightning.image.metadata import DESCRIPTIVE, HISTORY, Metadata

_ORIENTATION, _XMP, _ICC = 274, 700, 34675
# Number of quarter turns to the left, and whether to mirror afterwards, for each orientation.
_UPRIGHT = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}


def read_grey_alpha_tiff(path: Path, *, max_pixels: int) -> tuple[NDArray[np.uint16], Metadata] | None:
    """Reads upright (H, W, 2) and the metadata; None if the file is of another kind.

    Raises:
        BadImageError: The file is of this kind, but too large, damaged, or compressed in a way that tifffile cannot
            read.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages.first
            if (page.samplesperpixel, page.bitspersample, page.planarconfig) != (2, 16, 1) or len(file.pages) > 1:
                return None
            if page.imagewidth * page.imagelength > max_pixels:
                raise BadImageError(path, f"is {page.imagewidth}x{page.imagelength}; allowed: fewer pixels")
            tags = {int(tag.code): tag.value for tag in page.tags}
            levels = page.asarray()
    except BadImageError:
        raise
    except (tifffile.TiffFileError, OSError, ValueError, KeyError) as error:
        raise BadImageError(path, f"cannot be decoded: {error}") from None
    turns, is_mirrored = _UPRIGHT.get(tags.get(_ORIENTATION, 1), (0, False))
    levels = np.rot90(levels, turns)
    exif = {tag: tags[tag] for tag in DESCRIPTIVE if isinstance(tags.get(tag), str)}
    levels = np.ascontiguousarray(levels[:, ::-1] if is_mirrored else levels)
    return levels, Metadata(icc=tags.get(_ICC), exif=exif, xmp=tags.get(_XMP))


def read_tiff_history(path: Path) -> str | None:
    """Like `metadata.read_history`, for any TIFF."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            tags = {int(tag.code): tag.value for tag in file.pages.first.tags}
    except (tifffile.TiffFileError, OSError, ValueError, KeyError):
        return None
    history = tags.get(HISTORY)
    return history if isinstance(history, str) else None
