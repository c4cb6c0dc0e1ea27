"""How a checkpoint says that it is whole: a line behind it that covers every bit, readable without torch.

torch loads a file whose tensors have changed: it compares none of the checksums in its zip. Here they count. The
seal holds SHA-256 of all that stands between the records, and with it their CRC-32, which torch computes anyway;
so sealing costs next to nothing, and a single changed bit is always found. Being part of the file, it moves with
it, and no kill can come between the two. Readers of zip files, `torch.load` among them, pass over it.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sr_lightning.errors import UserError

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
SEALED = "sr_lightning_sealed"
"""Key in the checkpoint itself: a file that lost its seal is not taken for one that never had any."""
_MARK = b" sealed by sr_lightning\n"
_TAIL = 8 + 64 + len(_MARK)  # length of the facts, digest, mark
_LONGEST = 60_000  # readers look for the zip's end in the last 64 KiB


class DamagedError(UserError):
    """The file is not as it was written; `reason` says what differs."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: is damaged: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Seal:
    """What a checkpoint says about itself."""

    step: int
    config: dict[str, Any] | None
    """The resolved config; None where it was too long or there was none."""


def write_seal(file: BinaryIO, seal: Seal) -> None:
    """Seals a finished zip file.

    Args:
        file: Open for reading and writing.
        seal: What it shall say.
    """
    facts = json.dumps({"step": seal.step, "config": seal.config}, default=repr).encode()
    if len(facts) > _LONGEST:
        facts = json.dumps({"step": seal.step, "config": None}).encode()
    file.seek(0, 2)
    file.write(b"\n%s%08x" % (facts, len(facts)))
    file.flush()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        digest = _digest(content, len(content), _records(file, content))
    file.seek(0, 2)  # the zip's reader has moved it
    file.write(digest + _MARK)


def read_seal(path: Path) -> Seal | None:
    """Checks a file against its seal.

    Returns:
        What it says; None where the file never had a seal (it is not ours, or an old one).

    Raises:
        DamagedError: It is not as it was written.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content[-len(_MARK) :] == _MARK:
                return _checked(path, file, content)
            if content.find(SEALED.encode()) >= 0:
                raise DamagedError(path, "its end is missing or changed")
    return None


def _checked(path: Path, file: BinaryIO, content: mmap.mmap) -> Seal:
    end = len(content) - _TAIL + 8  # of what the digest covers
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
        if type(facts["step"]) is not int or not isinstance(facts["config"], dict | None):
            raise DamagedError(path, "its step or config is none")
        return Seal(facts["step"], facts["config"])
    except DamagedError:
        raise
    except Exception as error:  # whatever a reader of zip files makes of damage
        raise DamagedError(path, str(error) or type(error).__name__) from None


Record = tuple[str, int, int, int]


def _records(file: BinaryIO, content: mmap.mmap) -> list[Record]:
    """Name, start, stop and CRC-32 of each record in the zip, in their order in the file."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    records = []
    for entry in entries:
        name, extra = struct.unpack_from("<HH", content, entry.header_offset + 26)
        start = entry.header_offset + 30 + name + extra
        records.append((entry.filename, start, start + entry.compress_size, entry.CRC))
    return sorted(records, key=lambda record: record[1])


def _digest(content: mmap.mmap, end: int, records: Sequence[Record]) -> bytes:
    """SHA-256 of all up to `end` that is in no record, in hexadecimal."""
    digest, at = hashlib.sha256(), 0
    for _, start, stop, _ in records:
        digest.update(content[at:start])
        at = stop
    digest.update(content[at:end])
    return digest.hexdigest().encode()


# -- which one to continue from ------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """The checkpoints of a run that it could continue from."""

    newest: Path | None
    """The whole one of the highest step, whatever the files' times say."""
    seal: Seal | None
    damaged: dict[Path, str]
    """Those that are not whole, and why."""


def find_kept(folder: Path) -> Kept:
    """Looks at `last.ckpt` and `previous.ckpt` in a folder of checkpoints."""
    found: list[tuple[int, Path, Seal | None]] = []
    damaged: dict[Path, str] = {}
    for path in (folder / PREVIOUS, folder / LAST):
        if not path.is_file():
            continue
        try:
            seal = read_seal(path)
            if seal is None and not zipfile.is_zipfile(path):
                raise DamagedError(path, "it is no checkpoint" if path.stat().st_size else "it is empty")
            found.append((seal.step if seal else -1, path, seal))
        except DamagedError as error:
            damaged[path] = error.reason
        except OSError as error:
            damaged[path] = error.strerror or str(error)
    if [seal is None for _, _, seal in found] == [False, True]:  # a file of ours never follows upon one without a seal
        damaged[found.pop()[1]] = "its seal is lost, or it is none of this run's"
    if not found:
        return Kept(None, None, damaged)
    _, newest, seal = max(found, key=lambda entry: (entry[0], entry[1].name == LAST))
    return Kept(newest, seal, damaged)


def tidy(folder: Path, *, damaged: Sequence[Path] = (), after: int | None = None) -> list[str]:
    """Makes a run's folder ready to be written into; the caller holds its lock.

    Removes what a kill left half-written, and sets aside, under other names, checkpoints that are damaged or lie
    after the step that the run continues from: neither must become `previous.ckpt`.

    Args:
        folder: The run's folder.
        damaged: Checkpoints found damaged.
        after: The step; None: nothing is later.

    Returns:
        What was done, one line each.
    """
    checkpoints = [folder / "checkpoints" / f"{name}.part" for name in (LAST, PREVIOUS, "best.ckpt")]
    parts = [*checkpoints, folder / "metrics.csv.part", folder / "results.json.part"]
    told = []
    for part in parts:
        if part.is_file():
            part.unlink()
            told.append(f"{part}: removed, an interrupted run left it half-written")
    for path in damaged:
        if path.is_file():
            told.append(f"{path}: set aside as {path.replace(path.with_name(path.name + '.damaged')).name}")
    for path in (folder / "checkpoints" / PREVIOUS, folder / "checkpoints" / LAST):
        if after is None or not path.is_file() or (seal := read_seal(path)) is None or seal.step <= after:
            continue
        aside = path.with_name(f"step{seal.step}.ckpt")
        path.replace(aside)
        told.append(f"{path}: set aside as {aside.name}, it lies after step {after}")
    return told
