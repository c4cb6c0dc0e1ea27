"""Index of a packed set: names, sizes and checksums; everything but the pixels."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sr_lightning.errors import UserError

INDEX = "pictures.json"
HASHES = "pictures.hashes1.json"
"""Hashes of each image, in the form of `stored_hashes`."""
FORMAT = 1


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
        """Reads an index.

        Args:
            file: Its path.
            source: The packed set as the user named it, for messages.

        Raises:
            UserError: The file is missing, or not what this version writes.
        """
        try:
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            if found.pop("format") != FORMAT:
                raise UserError(f"data.shards.folder: {source} was packed by another version; allowed: pack it again")
            shared: dict[tuple[int, int], tuple[int, int]] = {}  # most images have the same few sizes
            sizes = [(height, width) for height, width in found.pop("sizes")]
            sizes = [shared.setdefault(size, size) for size in sizes]
            return cls(shards=[Shard(**shard) for shard in found.pop("shards")], sizes=sizes, **found)
        except FileNotFoundError:
            raise UserError(f"data.shards.folder: {source} {NOT_PACKED}") from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"data.shards.folder: {INDEX} of {source} cannot be read: {error}") from None


NOT_PACKED = f"holds no {INDEX}; allowed: what `python -m sr_lightning.pack input=<images> output=<folder>` has written"
