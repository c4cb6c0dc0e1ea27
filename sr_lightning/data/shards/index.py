"""The index of a packed set: everything but the pixels, so that a run knows its images without reading a shard."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sr_lightning.errors import UserError

INDEX = "pictures.json"
HASHES = "images.hashes1.json"
"""Of each image, as `leakage` keeps them beside a store."""
FORMAT = 1


@dataclass(frozen=True)
class Shard:
    """One file of images, in litdata's format."""

    name: str
    images: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class PackedIndex:
    """What a packed set holds."""

    key: str
    """Stands for the pixels of all images and for how they are spread over the shards."""
    shards: list[Shard]
    names: list[str]
    """Path of each image below the folder that was packed, with `/`."""
    sizes: list[tuple[int, int]]
    """(H, W) of each."""
    lost: dict[str, int]
    """What of the files is not in the pixels -> how many files it is about."""
    left_out: int
    """Files that were no images, and were left out because `on_bad_image` said so."""

    def write(self, folder: Path) -> None:
        """Writes it into a packed set's folder."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False)
        (folder / INDEX).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, file: Path, told: str) -> PackedIndex:
        """Reads it.

        Args:
            file: Where it lies.
            told: The set, as the user named it.

        Raises:
            UserError: It is not there, or not what this version writes.
        """
        try:
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            if found.pop("format") != FORMAT:
                raise UserError(f"data.shards.folder: {told} was packed by another version; allowed: pack it again")
            shared: dict[tuple[int, int], tuple[int, int]] = {}  # most images have the same few sizes
            sizes = [(height, width) for height, width in found.pop("sizes")]
            sizes = [shared.setdefault(size, size) for size in sizes]
            return cls(shards=[Shard(**shard) for shard in found.pop("shards")], sizes=sizes, **found)
        except FileNotFoundError:
            raise UserError(f"data.shards.folder: {told} {NOT_PACKED}") from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"data.shards.folder: {INDEX} of {told} cannot be read: {error}") from None


NOT_PACKED = f"holds no {INDEX}; allowed: what `python -m sr_lightning.pack input=<images> output=<folder>` has written"
