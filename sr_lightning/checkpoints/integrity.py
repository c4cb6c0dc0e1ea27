"""Checksum trailer that detects truncated or altered checkpoints, and selection of the newest intact one.

`torch.load` verifies none of the CRC-32 checksums in its zip archive, so altered tensors load without an error. The
trailer after the archive holds a SHA-256 of everything between the records, including their CRC-32 checksums, which are
verified too, so that even a single flipped bit is detected. As torch computes the CRC-32 anyway, the trailer costs next
to nothing. It is part of the file, so a kill cannot separate the two. Zip readers, including `torch.load`, ignore it.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from sr_lightning.errors import UserError

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
HAS_TRAILER = "sr_lightning_sealed"
"""Key inside the checkpoint that marks it as written with a trailer, so that a lost trailer is noticed."""
LOGGED_ROWS = "logged_rows"
"""Key inside the checkpoint for the number of rows in `metrics.csv` when it was written."""
_MARK = b" sealed by sr_lightning\n"
_TAIL = 8 + 64 + len(_MARK)  # length of the facts, digest, mark
LARGEST_STEP = 10**12
"""Steps are part of file names, and may come from a file."""
_LONGEST = 60_000  # readers look for the zip's end in the last 64 KiB


class DamagedError(UserError):
    """The file is truncated or altered; `reason` explains how."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: is damaged: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Trailer:
    """Facts of a checkpoint that can be read without torch."""

    step: int
    config: dict[str, Any] | None
    """The resolved config; None if it was too long or there was none."""
    logged_rows: int | None = None
    """Number of rows in `metrics.csv` when the file was written; None in checkpoints of early versions."""


def write_trailer(file: BinaryIO, trailer: Trailer) -> None:
    """Appends the trailer to a finished zip file.

    Args:
        file: The file, open for reading and writing.
        trailer: The facts to store.
    """
    facts = json.dumps(asdict(trailer), default=repr).encode()
    if len(facts) > _LONGEST:
        facts = json.dumps(asdict(replace(trailer, config=None))).encode()
    file.seek(0, 2)
    file.write(b"\n%s%08x" % (facts, len(facts)))
    file.flush()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        digest = _digest(content, len(content), _records(file, content))
    file.seek(0, 2)  # the zip reader has moved the position
    file.write(digest + _MARK)


def read_trailer(path: Path) -> Trailer | None:
    """Verifies a file against its trailer.

    Returns:
        The facts; None if the file never had a trailer (another program's file, or one of an early version).

    Raises:
        DamagedError: The file is truncated or altered.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content[-len(_MARK) :] == _MARK:
                return _checked(path, file, content)
            if content.find(HAS_TRAILER.encode()) >= 0:
                raise DamagedError(path, "its end is missing or changed")
    return None


def _checked(path: Path, file: BinaryIO, content: mmap.mmap) -> Trailer:
    end = len(content) - _TAIL + 8  # end of what the digest covers
    try:
        records = _records(file, content)
        if _digest(content, end, records) != content[end : end + 64]:
            raise DamagedError(path, "its checksum differs")
        for name, start, stop, crc in records:
            with memoryview(content) as view, view[start:stop] as record:
                if zlib.crc32(record) != crc:
                    raise DamagedError(path, f"the checksum of {name} differs")
        length = int(content[end - 8 : end], 16)
        facts = json.loads(content[end - 8 - length : end - 8])
        logged_rows = facts.get("logged_rows")
        is_step = type(facts["step"]) is int and -1 <= facts["step"] <= LARGEST_STEP
        if not is_step or not isinstance(facts["config"], dict | None):
            raise DamagedError(path, "its step is no number, or its config no mapping")
        if logged_rows is not None and type(logged_rows) is not int:
            raise DamagedError(path, "its number of logged rows is no number")
        return Trailer(facts["step"], facts["config"], logged_rows)
    except DamagedError:
        raise
    except Exception as error:  # a damaged zip file raises many kinds of errors
        raise DamagedError(path, str(error) or type(error).__name__) from None


Record = tuple[str, int, int, int]


def _records(file: BinaryIO, content: mmap.mmap) -> list[Record]:
    """Returns name, start, stop and CRC-32 of each zip record, in file order."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    records = []
    for entry in entries:
        name, extra = struct.unpack_from("<HH", content, entry.header_offset + 26)
        start = entry.header_offset + 30 + name + extra
        records.append((entry.filename, start, start + entry.compress_size, entry.CRC))
    return sorted(records, key=lambda record: record[1])


def _digest(content: mmap.mmap, end: int, records: Sequence[Record]) -> bytes:
    """Returns the SHA-256 of everything before `end` outside the records, in hexadecimal."""
    digest, at = hashlib.sha256(), 0
    for _, start, stop, _ in records:
        digest.update(content[at:start])
        at = stop
    digest.update(content[at:end])
    return digest.hexdigest().encode()


# -- the newest intact checkpoint ----------------------------------------------------------------------


@dataclass(frozen=True)
class Resumable:
    """The checkpoints from which a run can be resumed."""

    newest: Path | None
    """The intact checkpoint with the highest step; modification times do not count."""
    trailer: Trailer | None
    damaged: dict[Path, str]
    """The damaged checkpoints, with the reasons."""


def find_resumable(folder: Path) -> Resumable:
    """Verifies `last.ckpt` and `previous.ckpt` in a folder of checkpoints."""
    found: list[tuple[int, Path, Trailer | None]] = []
    damaged: dict[Path, str] = {}
    for path in (folder / PREVIOUS, folder / LAST):
        if not path.is_file():
            continue
        try:
            trailer = read_trailer(path)
            if trailer is None and not zipfile.is_zipfile(path):
                raise DamagedError(path, "it is no checkpoint" if path.stat().st_size else "it is empty")
            found.append((trailer.step if trailer else -1, path, trailer))
        except DamagedError as error:
            damaged[path] = error.reason
        except OSError as error:
            damaged[path] = error.strerror or str(error)
    if [trailer is None for _, _, trailer in found] == [False, True]:  # ours never follow one without a trailer
        damaged[found.pop()[1]] = "its trailer is missing, or it is not of this run"
    if not found:
        return Resumable(None, None, damaged)
    _, newest, trailer = max(found, key=lambda entry: (entry[0], entry[1].name == LAST))
    return Resumable(newest, trailer, damaged)


def tidy(folder: Path, *, damaged: Sequence[Path] = (), after: int | None = None) -> list[str]:
    """Prepares a run's folder for writing; the caller holds its lock.

    Removes partial files left by a kill, and renames checkpoints that are damaged or later than the step from which the
    run resumes: neither must become `previous.ckpt`, and the best of what is repeated is found anew.

    Args:
        folder: The run's folder.
        damaged: Checkpoints found to be damaged.
        after: The step from which the run resumes; None if no checkpoint can be later.

    Returns:
        One message per action taken.
    """
    checkpoints = [folder / "checkpoints" / f"{name}.part" for name in (LAST, PREVIOUS, BEST)]
    parts = [*checkpoints, folder / "metrics.csv.part", folder / "results.json.part"]
    messages = []
    for part in parts:
        if part.is_file():
            part.unlink()
            messages.append(f"{part}: removed, an interrupted run left it half-written")
    for path in damaged:
        if path.is_file():
            messages.append(f"{path}: set aside as {_set_aside_damaged(path)}")
    for path in (folder / "checkpoints" / name for name in (PREVIOUS, LAST, BEST)):
        if after is None or not path.is_file():
            continue
        try:
            trailer = read_trailer(path)
        except DamagedError as error:
            messages.append(f"{path}: set aside as {_set_aside_damaged(path)}: {error.reason}")
            continue
        if trailer is not None and trailer.step > after:
            aside = path.replace(path.with_name(f"{'best_' if path.name == BEST else ''}step{trailer.step}.ckpt"))
            messages.append(f"{path}: set aside as {aside.name}, it lies after step {after}")
    return messages


def _set_aside_damaged(path: Path) -> str:
    """Renames a damaged file and returns its new name."""
    return path.replace(path.with_name(f"{path.name}.damaged")).name
