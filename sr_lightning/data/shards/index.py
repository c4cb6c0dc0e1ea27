"""Index of a packed set: names, sizes and checksums; everything except the pixels."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr_lightning.errors import UserError
from sr_lightning.files import inside

INDEX = "pictures.json"
HASHES = "pictures.hashes1.json"
"""Hashes of each image, in the form of `stored_hashes`."""
FORMAT = 1
MAX_INDEX_BYTES = 2**30
_MAX_SHARD_BYTES = 2**32  # a shard's offsets have 32 bits
_KEY, _SHA256, _SHARD = r"[0-9a-f]{32}", r"[0-9a-f]{64}", r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\.bin"


@dataclass(frozen=True)
class Shard:
    """Name, size and checksum of one shard: a file of images in litdata's format."""

    name: str
    images: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class PackedIndex:
    """Contents of a packed set."""

    key: str
    """Content key: a hash of the pixels of all images and of their distribution over the shards."""
    shards: list[Shard]
    names: list[str]
    """Path of each image relative to the packed folder, with `/`."""
    sizes: list[tuple[int, int]]
    """(H, W) of each image."""
    lost: dict[str, int]
    """Description of information that decoding discards (alpha, 16 bits, …) -> number of files concerned."""
    left_out: int
    """Number of files that could not be decoded and were skipped (`on_bad_image=skip`)."""

    def write(self, folder: Path) -> None:
        """Writes the index into a packed set's folder."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False)
        (folder / INDEX).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, file: Path, source: str) -> PackedIndex:
        """Reads and validates an index, which is untrusted input.

        Args:
            file: Path of the index.
            source: The packed set as the user named it, for messages.

        Raises:
            UserError: The file is missing, or was not written by this version.
        """
        try:
            if not file.is_file():
                raise UserError(f"data.shards.folder: {source} {NOT_PACKED}")
            _require(file.stat().st_size <= MAX_INDEX_BYTES, "more than a GiB")
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            if found.pop("format") != FORMAT:
                raise UserError(f"data.shards.folder: {source} was packed by another version; allowed: pack it again")
            shared: dict[tuple[int, int], tuple[int, int]] = {}  # most images share a few sizes
            sizes = [(height, width) for height, width in found.pop("sizes")]
            sizes = [shared.setdefault(size, size) for size in sizes]
            index = cls(shards=[Shard(**shard) for shard in found.pop("shards")], sizes=sizes, **found)
            _check(index, file.parent)
            return index
        except UserError as error:
            if str(error).startswith("data."):
                raise
            raise UserError(f"data.shards.folder: {INDEX} of {source} cannot be used: {error}") from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UserError(f"data.shards.folder: {INDEX} of {source} cannot be read: {error}") from None

    def check_shard(self, number: int, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Checks the header of a mapped shard against the index.

        The litdata format: the number of items n, n + 1 offsets (all uint32, little endian), then the items, each of
        which ends with the pixels of an image.

        Args:
            number: Number of the shard.
            pixels: Content of the shard.

        Returns:
            (n,) the end of each item.

        Raises:
            UserError: The shard does not hold the images listed in the index.
        """
        shard = self.shards[number]
        first = sum(shard.images for shard in self.shards[:number])
        header = 4 * (shard.images + 2)
        offsets = pixels[:header].view("<u4").astype(np.int64) if len(pixels) >= header else np.zeros(1, np.int64)
        needed = np.array([h * w * 3 for h, w in self.sizes[first : first + shard.images]], np.int64)
        is_right = len(offsets) == shard.images + 2 and offsets[0] == shard.images and offsets[1] == header
        if not is_right or offsets[-1] != len(pixels) or (np.diff(offsets[1:]) < needed).any():
            raise UserError(f"data.shards.folder: {shard.name} holds other images than {INDEX} says")
        return offsets[2:]


def _check(index: PackedIndex, folder: Path) -> None:
    """Raises ValueError or UserError if a value is not as written by `write`.

    Image sizes are bounded by the sizes of their shards, and those by what is on disk or may be fetched.
    """
    inside(folder, index.key, _KEY)
    _require(isinstance(index.names, list) and len(index.shards) > 0, "no images")
    for shard in index.shards:
        inside(folder, shard.name, _SHARD)
        _require(isinstance(shard.sha256, str), "a checksum that is no text")
        inside(folder, shard.sha256, _SHA256)
        _require(_is_count(shard.images) and shard.images > 0, f"{shard.name} with no images")
        _require(_is_count(shard.bytes) and shard.bytes <= _MAX_SHARD_BYTES, f"{shard.name} of {shard.bytes!r} bytes")
    _require(len({shard.name for shard in index.shards}) == len(index.shards), "a shard that is named twice")
    _require(all(isinstance(name, str) and 0 < len(name) < 4096 for name in index.names), "names that are no text")
    "".join(index.names).encode()  # raises if a name is not encodable, and so not valid text
    counts = [sum(shard.images for shard in index.shards), len(index.names), len(index.sizes)]
    _require(len(set(counts)) == 1, f"{counts[0]} images in the shards, {counts[1]} names and {counts[2]} sizes")
    _require(all(_is_count(side) and side > 0 for size in index.sizes for side in size), "sizes that are none")
    ends = np.cumsum([0, *(shard.images for shard in index.shards)]).tolist()
    for shard, (first, last) in zip(index.shards, pairwise(ends), strict=True):
        needed = sum(height * width * 3 for height, width in index.sizes[first:last])
        _require(needed < shard.bytes, f"{shard.name} of {shard.bytes} bytes with images of {needed}")
    _require(isinstance(index.lost, dict) and all(map(_is_count, index.lost.values())), "losses that are no numbers")
    _require(_is_count(index.left_out), f"left_out {index.left_out!r}")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _require(is_right: bool, found: str) -> None:
    if not is_right:
        raise ValueError(f"found {found}")


NOT_PACKED = f"holds no {INDEX}; allowed: what `python -m sr_lightning.pack input=<images> output=<folder>` has written"
