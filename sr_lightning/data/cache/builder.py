"""Builder of stores: decodes images into one file, atomically, or only measures them if it would be too large."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from sr_lightning.data.bad_files import BadImagesError
from sr_lightning.data.cache.content_key import SourceFile
from sr_lightning.data.cache.disk import free_bytes, keep, one_at_a_time
from sr_lightning.data.cache.prefetch import prefetched, with_progress
from sr_lightning.errors import UserError
from sr_lightning.files import write_atomically
from sr_lightning.image.decoder import BadImageError, decode, header_pixels
from sr_lightning.image.resize import Kernel, resize
from sr_lightning.text import LOG_ONLY

log = logging.getLogger(__name__)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_Image = tuple[list[NDArray[np.uint8]], tuple[str, ...]]


@dataclass(frozen=True)
class Shrink:
    """Additional copies of each image, downscaled with MATLAB's bicubic."""

    factors: tuple[float, ...]
    """Scale factors between 0 and 1."""
    least: int
    """Copies with a shorter side below this many pixels are left out."""
    kernel: Kernel = "bicubic"
    """`bicubic_double` makes the copies of versions that rounded only once."""

    @property
    def key(self) -> str:
        """Identifies the copies of an image; the older rule keeps the name it had when it was the only one."""
        rule = "" if self.kernel == "bicubic_double" else ", rounded after each pass"
        return f"Shrink(factors={self.factors}, least={self.least}{rule})"

    def copies(self, image: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """Yields the copies of one image, each (H, W, 3)."""
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))  # (3, H, W)
        for factor in self.factors:
            exact = Fraction(str(factor))  # 0.8 is meant as 4/5
            if min(image.shape[:2]) * exact >= self.least:
                yield resize(pixels, exact, kernel=self.kernel).permute(1, 2, 0).numpy()


@dataclass(frozen=True)
class Content:
    """Metadata of decoded images."""

    images: list[tuple[int, int, int, int]]
    """Offset in the store, height, width and file number of each image; a file's copies follow its image."""
    lost: dict[str, int]
    """Description of information that decoding discards -> number of files concerned."""
    is_stored: bool
    """False: no pixels are stored on disk, and each image is decoded on demand."""


def with_copies(file: SourceFile, shrink: Shrink | None) -> _Image:
    """Returns a file's image and its copies, and descriptions of the information that decoding discards.

    Raises:
        BadImageError: The file is not a valid image.
        UserError: The file cannot be read, or has changed.
    """
    try:
        image = decode(file.path)
    finally:
        file.check()
    return [image.rgb, *(shrink.copies(image.rgb) if shrink else ())], image.lost


def prepare(files: Sequence[SourceFile], store: Path, shrink: Shrink | None, limit: int | None) -> Content:
    """Builds a store, or finds the existing one.

    Args:
        files: The image files.
        store: The pixel file; its index is stored beside it.
        shrink: Copies that follow each image.
        limit: Maximum size of a store in bytes; a larger one is not built, nor one that exceeds the free disk space.

    Raises:
        BadImagesError: Some files cannot be read as images; it names all of them.
        UserError: A file changes while it is read, or nothing can be written beside the store.
    """
    if (found := _complete(store)) is not None:
        return found
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(store):
            return _complete(store) or _prepare(files, store, shrink, limit)
    except OSError as error:
        raise UserError(f"paths.cache: cannot write decoded images to {store.parent}: {error.strerror}") from None


def _prepare(files: Sequence[SourceFile], store: Path, shrink: Shrink | None, limit: int | None) -> Content:
    looked_at = store.with_suffix(".sizes.json")
    known = _read(looked_at, is_stored=False)
    needed = sum(h * w * 3 for _, h, w, _ in known.images) if known else _estimate(files, shrink)
    if not (reason := _too_much(needed, limit, store.parent)):
        try:
            log.info("decoding images once for all runs (%d)", len(files))
            log.info("into %s", store, extra=LOG_ONLY)
            return _build(store, lambda out: _decoded(files, shrink, out))
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            reason = f"no room is left in {store.parent}"
    log.info(
        "%d images are %.3g GB when decoded, but %s: each is decoded when it is needed, which gives the same samples "
        "more slowly",
        *(len(files), needed / 1e9, reason),
    )
    if known is None:
        known = _looked_at(files, shrink)
        keep(looked_at, _as_text(known, 0))
    return known


def _estimate(files: Sequence[SourceFile], shrink: Shrink | None) -> int:
    """Estimates the bytes of the decoded images from the file headers."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pixels = sum(pool.map(lambda file: header_pixels(file.path), files))
    return int(pixels * 3 * (1 + sum(factor**2 for factor in (shrink.factors if shrink else ()))))


def _too_much(needed: int, limit: int | None, folder: Path) -> str:
    if limit is not None and needed > limit:
        return f"data.store_limit_gb allows {limit / 1e9:g}"
    free = free_bytes(folder)
    return f"{folder} has room for {free / 1e9:.3g}" if needed > free else ""


def _build(store: Path, write: Callable[[BinaryIO], Content]) -> Content:
    """Writes to temporary names, then renames: a reader sees either a complete store or none."""
    index = store.with_suffix(".json")
    _remove_leftovers(store)
    with tempfile.TemporaryDirectory(dir=store.parent, prefix=f"part-{store.stem}-") as folder:
        pixels = Path(folder, store.name)
        with pixels.open("wb") as out:
            content = write(out)
            size = out.tell()
            out.flush()
            os.fsync(out.fileno())  # else a power loss may leave zeros of the right size
        os.replace(pixels, store)
        write_atomically(
            index, _as_text(content, size), is_shared=True
        )  # written last: its presence means that the pixels are complete
    return content


def _remove_leftovers(store: Path) -> None:
    """Removes partial files of killed processes, and files derived from pixels that no longer exist.

    Other programs may use the folder: only names created by this module are removed, one by one.
    """
    part = re.compile(rf"part-{re.escape(store.stem)}-[a-z0-9_]{{8}}")
    derived = re.compile(rf"{re.escape(store.stem)}\.x\d+\.[\w-]+\.(rgb8|json)")
    for path in store.parent.iterdir():
        if derived.fullmatch(path.name) and not path.is_dir():
            path.unlink(missing_ok=True)
        elif part.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            (path / store.name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it contains other files, which are not ours
                path.rmdir()


def _looked_at(files: Sequence[SourceFile], shrink: Shrink | None) -> Content:
    """Decodes everything once, for the sizes and to find bad files now rather than in mid-training."""
    return _decoded(files, shrink, None)


def _decoded(files: Sequence[SourceFile], shrink: Shrink | None, out: BinaryIO | None) -> Content:
    def one(file: SourceFile) -> _Image | BadImageError:
        try:
            return with_copies(file, shrink)
        except BadImageError as error:
            return error

    entries: list[tuple[int, int, int, int]] = []
    lost: Counter[str] = Counter()
    bad: dict[Path, str] = {}
    for number, found in enumerate(with_progress(prefetched(one, files), len(files), "decoding images")):
        if isinstance(found, BadImageError):
            bad[files[number].path] = found.reason
        elif not bad:  # otherwise only further bad files are of interest
            images, gone = found
            lost.update(gone)
            entries += [_entry(image, number, out) for image in images]
    if bad:
        raise BadImagesError(bad)
    return Content(entries, dict(lost), is_stored=out is not None)


def _entry(image: NDArray[np.uint8], number: int, out: BinaryIO | None) -> tuple[int, int, int, int]:
    """Writes an image of file `number`; returns its entry in `Content.images`."""
    offset = out.tell() if out else 0
    if out:
        out.write(np.ascontiguousarray(image).data)
    return offset, image.shape[0], image.shape[1], number


def derive(store: Path, make: Callable[[int], NDArray[np.uint8]], n: int, *, needed: int, doing: str) -> Content | None:
    """Builds a store of images computed from others, or finds the existing one.

    Args:
        store: The pixel file; its index is stored beside it.
        make: Returns an image by number, (H, W, 3) uint8; called sequentially, as large images keep all cores busy.
        n: Number of images.
        needed: Their size in bytes.
        doing: Description of the operation, for the log.

    Returns:
        The metadata; None if the store does not exist and cannot be written.
    """

    def write(out: BinaryIO) -> Content:
        images = with_progress(map(make, range(n)), n, f"{doing} images")
        return Content([_entry(image, number, out) for number, image in enumerate(images)], {}, is_stored=True)

    if (found := _complete(store)) is not None:
        return found
    try:
        with one_at_a_time(store):
            if (found := _complete(store)) is not None:
                return found
            if needed > (free := free_bytes(store.parent)):
                log.info("%s: has %.3g GB, and there is room for %.3g", store, needed / 1e9, free / 1e9)
                return None
            log.info("%s images once for all runs (%d)", doing, n)
            log.info("into %s", store, extra=LOG_ONLY)
            return _build(store, write)
    except OSError as error:
        log.info("%s: cannot be written (%s)", store, error.strerror)
        return _complete(store)  # if the file system has no locks, another process may have interfered


def _as_text(content: Content, size: int) -> str:
    return json.dumps({"pictures": content.images, "lost": content.lost, "bytes": size})


def _read(index: Path, *, is_stored: bool, store: Path | None = None) -> Content | None:
    """Reads the index; returns None unless it is valid and the pixel file has the recorded size."""
    try:
        found: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
        if store is not None and store.stat().st_size != found["bytes"]:
            return None
        return Content(found["pictures"], found["lost"], is_stored)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _complete(store: Path) -> Content | None:
    return _read(store.with_suffix(".json"), is_stored=True, store=store)
