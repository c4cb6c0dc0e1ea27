"""Safe extraction of ZIP and TAR archives: no path traversal, bounded size, all or nothing."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from sr_lightning.files import UnsafeNameError, inside, sha256

_MANIFEST = ".archive.json"
_CHUNK = 1 << 20


class ArchiveError(Exception):
    """The archive is damaged, or contains something that does not belong in an archive of images."""


@dataclass(frozen=True)
class Limits:
    """Limits on an archive's contents."""

    members: int = 200_000
    bytes: int = 200 * 2**30
    ratio: float = 20
    """Maximum extracted bytes per archive byte; compressed images hardly shrink further."""


def extract(archive: Path, target: Path, *, digest: str, limits: Limits | None = None) -> None:
    """Extracts a ZIP or uncompressed TAR archive into a new folder, which appears only once it is complete.

    A common parent folder of all members is stripped: `DIV2K_train_HR/0001.png` becomes `<target>/0001.png`.

    Args:
        archive: The archive; its content determines the format.
        target: The folder to create.
        digest: Checksum of the archive; recorded in the folder, for `is_extracted`.
        limits: Limits on number and size of the members.

    Raises:
        ArchiveError: The archive is damaged, or a member is absolute, escapes the folder, is a link or device, appears
            twice (including in another case or Unicode form), or exceeds the limits. Nothing is left behind.
        OSError: The folder cannot be written.
    """
    limits = limits or Limits()
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        files = _extract_members(archive, folder, limits)
        top = _shared_folder(files)
        listing = {str(path.relative_to(top)): entry for path, entry in files.items()}
        manifest = {"archive": digest, "files": listing}
        (folder / top / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        os.chmod(folder / top, 0o755)  # mkdtemp creates it private
        os.rename(folder / top, target)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise ArchiveError(f"{archive.name} cannot be unpacked: {error}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_extracted(target: Path, *, digest: str) -> bool:
    """Checks that a folder holds exactly what `extract` produced from the archive with this checksum."""
    try:
        manifest = json.loads((target / _MANIFEST).read_text(encoding="utf-8"))
        return bool(manifest["archive"] == digest) and all(
            _is_unchanged(inside(target, name), size, digest_) for name, (size, digest_) in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, UnsafeNameError):
        return False


def _is_unchanged(path: Path, size: int, digest: str) -> bool:
    if path.stat().st_size != size:
        return False
    return sha256(path) == digest


@dataclass(frozen=True)
class _Member:
    name: str
    is_folder: bool
    content: IO[bytes] | None


def _members(archive: Path, folder: Path) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or info.flag_bits & 1:
                    what = "is encrypted" if info.flag_bits & 1 else "is a link or a device"
                    raise ArchiveError(f"{archive.name}: {info.filename!r} {what}")
                if info.is_dir():
                    yield _Member(info.filename, True, None)
                else:
                    with zipped.open(info) as content:
                        yield _Member(info.filename, False, content)
        return
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            if not (member.isreg() or member.isdir()):
                raise ArchiveError(f"{archive.name}: {member.name!r} is a link or a device")
            _checked_path(folder, member.name)  # before the filter, which would strip a leading slash
            safe = tarfile.data_filter(member, str(folder))
            yield _Member(safe.name, safe.isdir(), None if safe.isdir() else tar.extractfile(member))


def _extract_members(archive: Path, folder: Path, limits: Limits) -> dict[PurePosixPath, tuple[int, str]]:
    """Writes all members below the folder; returns path -> size and SHA-256 of each file."""
    files: dict[PurePosixPath, tuple[int, str]] = {}
    seen: dict[str, str] = {}
    left = min(limits.bytes, int(archive.stat().st_size * limits.ratio) + 2**20)
    for count, member in enumerate(_members(archive, folder), start=1):
        if count > limits.members:
            raise ArchiveError(f"{archive.name} holds more than {limits.members} members")
        path = _checked_path(folder, member.name)
        for part in (*reversed(path.parents), path):  # Images/a.png and images/a.png are the same file on some systems
            key = unicodedata.normalize("NFC", str(part)).casefold()
            if seen.setdefault(key, str(part)) != str(part) or (part in files):
                raise ArchiveError(f"{archive.name}: {member.name!r} and {seen[key]!r} are the same place")
        if path.name == _MANIFEST or (not member.is_folder and (folder / path).is_dir()):
            raise ArchiveError(f"{archive.name}: the place of {member.name!r} is taken")
        if member.is_folder or member.content is None:
            (folder / path).mkdir(parents=True, exist_ok=True)
            continue
        (folder / path.parent).mkdir(parents=True, exist_ok=True)
        files[path] = size, _ = _copy_bounded(member.content, folder / path, left)
        left -= size
    if not files:
        raise ArchiveError(f"{archive.name} holds no file")
    return files


def _copy_bounded(content: IO[bytes], path: Path, most: int) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as out:
        while chunk := _read(content, path.name):
            size += len(chunk)
            if size > most:
                raise ArchiveError(f"{path.name}: more comes out of the archive than its size makes plausible")
            digest.update(chunk)
            out.write(chunk)
    return size, digest.hexdigest()


def _read(content: IO[bytes], name: str) -> bytes:
    try:
        return content.read(_CHUNK)
    except (OSError, lzma.LZMAError) as error:  # bz2 and lzma report damaged data this way
        raise ArchiveError(f"{name} cannot be unpacked: {error}") from None


def _checked_path(folder: Path, name: str) -> PurePosixPath:
    try:
        inside(folder, name)
    except UnsafeNameError as error:
        raise ArchiveError(f"the archive holds a name that is refused: {error}") from None
    return PurePosixPath(name)


def _shared_folder(files: dict[PurePosixPath, tuple[int, str]]) -> PurePosixPath:
    """Returns the deepest folder that contains every file."""
    first, *others = files
    return next(parent for parent in first.parents if all(parent in path.parents for path in others))
