"""Fingerprints of images: a hash of the pixels, a perceptual hash and a thumbnail.

All lossless files of an image have the same pixel hash. Perceptual hashes of re-encoded, resized, flipped or rotated
versions of an image differ in few bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sr_lightning.data.duplicates.alignment import THUMBNAIL_SIDE, Thumbnail

_MIRRORED = ("mirrored left-right", "mirrored and turned", "mirrored top-bottom", "mirrored and turned")
ORIENTATIONS = ("", "a quarter turn", "a half turn", "a quarter turn", *_MIRRORED)
"""Description of each of the eight dihedral transforms, by its number in `reoriented`."""
HASH_BITS = 256
HASH_RADIUS = 48
"""Maximum distance in bits between pHashes of one image; a JPEG 30 at quarter size has 30, unrelated images 82."""


@dataclass(frozen=True)
class Fingerprint:
    """Compact description of an image, sufficient to recognise it and most altered versions of it."""

    size: tuple[int, int]
    """(H, W)."""
    pixels: str
    """SHA-256 of size and pixels."""
    thumb: Thumbnail
    """(160, 160) grey levels."""

    @classmethod
    def of(cls, rgb: NDArray[np.uint8]) -> Fingerprint:
        """Computes the fingerprint of (H, W, 3) uint8 pixels."""
        return cls((rgb.shape[0], rgb.shape[1]), pixel_hash(rgb), thumbnail(rgb))


def pixel_hash(rgb: NDArray[np.uint8]) -> str:
    """Returns the SHA-256 of size and pixels of (H, W, 3) uint8; the same for all lossless files of an image."""
    digest = hashlib.sha256(f"{rgb.shape[0]}x{rgb.shape[1]}".encode())
    digest.update(np.ascontiguousarray(rgb).data)
    return digest.hexdigest()


def thumbnail(rgb: NDArray[np.uint8]) -> Thumbnail:
    """Maps (H, W, 3) uint8 -> (160, 160) uint8 grey levels; the image is stretched to a square."""
    grey = Image.fromarray(rgb).convert("L")
    return np.asarray(grey.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0))


def perceptual_hash(thumb: Thumbnail, orientation: int = 0) -> str:
    """Returns the 256-bit pHash of a thumbnail: its low 16x16 DCT coefficients compared with their median.

    Args:
        thumb: (160, 160) grey levels.
        orientation: Dihedral transform applied to it first, see `reoriented`.

    Returns:
        64 hexadecimal digits, as given by `imagehash.phash(…, hash_size=16)`.
    """
    from scipy.fftpack import dct

    image = Image.fromarray(np.ascontiguousarray(reoriented(thumb, orientation)))
    small = np.asarray(image.resize((64, 64), Image.Resampling.LANCZOS))
    low = dct(dct(small, axis=0), axis=1)[:16, :16]
    return bytes(np.packbits(low > np.median(low)).tolist()).hex()


def reoriented(square: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Applies one of the eight dihedral transforms (flips and quarter turns), 0 to 7, to (N, N); see `ORIENTATIONS`."""
    return np.rot90(square if orientation < 4 else square[:, ::-1], orientation % 4)


def hash_bits(hashes: Sequence[str]) -> NDArray[np.bool_]:
    """Maps N perceptual hashes in hexadecimal digits -> (N, 256) bits."""
    digits = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8)
    return np.unpackbits(digits).reshape(len(hashes), HASH_BITS).astype(np.bool_)


def hash_distances(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns the Hamming distance of each pair: (N, 256), (M, 256) -> (N, M)."""
    x, y = a.astype(np.float32), b.astype(np.float32)  # a matrix product is the fastest way to count
    distances: NDArray[np.int64] = np.rint(x.sum(1)[:, None] + y.sum(1)[None] - 2 * (x @ y.T)).astype(np.int64)
    return distances
