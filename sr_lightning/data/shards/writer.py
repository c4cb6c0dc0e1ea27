"""Packs folders of images into shards of litdata's format, for `data=streaming`.

Pixels are stored as they are. On BSD200 that is 1.8 times the bytes of PNG; but a PNG takes 3.7 ms to decode, and a
window is cut out of mapped pixels in 0.005 ms.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr_lightning.data.cache.content_key import DECODER, key_of
from sr_lightning.data.cache.disk import free_bytes
from sr_lightning.data.cache.prefetch import prefetched, with_progress
from sr_lightning.data.duplicates.leakage import hashes_of
from sr_lightning.data.files import EXTENSIONS, find_images
from sr_lightning.data.requirements import OnBadImage
from sr_lightning.data.shards.index import HASHES, PackedIndex, Shard
from sr_lightning.data.shards.storage import NEEDS_LITDATA
from sr_lightning.errors import UserError
from sr_lightning.files import sha256
from sr_lightning.image.decoder import BadImageError, decode, header_pixels
from sr_lightning.text import listed

_LARGEST_MB = 2048  # a shard's offsets have 32 bits


def pack_images(
    *,
    input: str | list[str],
    output: str,
    files: list[str] | None = None,
    extensions: list[str] | None = None,
    on_bad_image: OnBadImage = "error",
    shard_mb: int = 64,
) -> tuple[PackedIndex, dict[Path, str]]:
    """Packs images; the folder is there when all of it is.

    Args:
        input: A folder of images, or several.
        output: The folder that is made; it must not be there.
        files: Only these files of each folder.
        extensions: Endings that count as images; None for the usual ones.
        on_bad_image: `error` refuses files that are no images, all in one message; `skip` leaves them out.
        shard_mb: 10^6 bytes of a shard; a larger image gets one of its own.

    Returns:
        The index, and the files that were left out with the reason for each.

    Raises:
        UserError: The folders, files, the room on the disk or litdata are not as they have to be.
    """
    if not 1 <= shard_mb <= _LARGEST_MB:
        raise UserError(f"shard_mb: found {shard_mb}, allowed: 1 to {_LARGEST_MB}")
    folder = Path(output)
    if os.path.lexists(folder):
        raise UserError(f"output: {folder} is there already; allowed: a new folder")
    named = _named([input] if isinstance(input, str) else input, files, extensions)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        needed = 3 * sum(pool.map(header_pixels, named))
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        if needed > (free := free_bytes(folder.absolute().parent)):
            raise UserError(
                f"output: {len(named)} images need {needed / 1e9:.3g} GB, but {folder.absolute().parent} has room "
                f"for {free / 1e9:.3g}; allowed: a folder on another disk"
            )
        with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=f"{folder.name}.part-") as part:
            index, bad = _pack(named, Path(part), on_bad_image, shard_mb * 10**6)
            os.chmod(part, 0o777 & ~_umask())  # a temporary folder is for its owner alone
            os.rename(part, folder)
            Path(part).mkdir()  # for the context to take away
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise UserError(f"output: {folder} has been made meanwhile; allowed: a new folder") from None
        raise UserError(f"output: cannot write to {folder}: {error.strerror}") from None
    return index, bad


def _named(folders: Sequence[str], files: list[str] | None, extensions: list[str] | None) -> dict[Path, str]:
    """File -> its name in the set: the path below its folder, and the folder's own where there are several."""
    found: dict[Path, str] = {}
    for number, folder in enumerate(folders):
        before = f"{number}-{Path(folder).name}/" if len(folders) > 1 else ""
        for path in find_images(folder, extensions=extensions or EXTENSIONS, files=files, key="input"):
            found[path] = before + path.relative_to(folder).as_posix()
    return found


@dataclass
class _Packed:
    """What is known so far."""

    names: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    hashes: list[tuple[str, list[str]]] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    bad: dict[Path, str] = field(default_factory=dict)


def _pack(
    named: dict[Path, str], part: Path, on_bad_image: OnBadImage, shard_bytes: int
) -> tuple[PackedIndex, dict[Path, str]]:
    writer = _writer(part, shard_bytes)
    done = _Packed()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="An item was larger than the target chunk size")
        for path, image in zip(named, with_progress(prefetched(_looked_at, named), len(named), "packing"), strict=True):
            if isinstance(image, BadImageError):
                done.bad[path] = image.reason
            elif not done.bad or on_bad_image == "skip":
                rgb, lost, hashes = image
                writer[len(done.names)] = rgb
                done.names.append(named[path])
                done.sizes.append((rgb.shape[0], rgb.shape[1]))
                done.hashes.append(hashes)
                done.lost.update(lost)
        if done.bad and (on_bad_image == "error" or not done.names):
            lines = listed([f"{path}: {reason}" for path, reason in done.bad.items()])
            raise UserError(
                f"{lines}\n{len(done.bad)} of {len(named)} files cannot be used; allowed: images, or "
                "on_bad_image=skip, which packs the others"
            )
        writer.done()
        writer.merge()
    shards = _shards(part)
    digests = [pixels for pixels, _ in done.hashes]
    key = key_of([DECODER, *digests, *(str(shard.images) for shard in shards)])
    index = PackedIndex(key, shards, done.names, done.sizes, dict(done.lost), len(done.bad))
    index.write(part)
    (part / HASHES).write_text(json.dumps(done.hashes), encoding="utf-8")
    return index, done.bad


def _looked_at(
    path: Path,
) -> tuple[NDArray[np.uint8], tuple[str, ...], tuple[str, list[str]]] | BadImageError:
    try:
        image = decode(path)
    except BadImageError as error:
        return error
    return image.rgb, image.lost, hashes_of(image.rgb, 1)


def _writer(folder: Path, shard_bytes: int) -> Any:
    """Of litdata, in this process: its `optimize` would leave multiprocessing switched to spawn."""
    try:
        from litdata.streaming.writer import BinaryWriter  # type: ignore[import-untyped]  # it ships no types
    except ImportError:
        raise UserError(NEEDS_LITDATA.format(key="pack")) from None
    return BinaryWriter(str(folder), chunk_bytes=shard_bytes)


def _shards(folder: Path) -> list[Shard]:
    """From litdata's index, with what a fetched file is checked against."""
    listed = json.loads((folder / "index.json").read_text(encoding="utf-8"))["chunks"]
    shards = []
    for chunk in listed:
        digest = sha256(folder / chunk["filename"])
        shards.append(Shard(chunk["filename"], chunk["chunk_size"], chunk["chunk_bytes"], digest))
    return shards


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
