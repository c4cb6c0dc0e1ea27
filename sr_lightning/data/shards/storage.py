"""Local paths of a packed set's files, and the bounded cache of those that are fetched from an object store."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import time
from pathlib import Path
from typing import Any

from sr_lightning.data.cache.disk import one_at_a_time
from sr_lightning.data.shards.index import INDEX, PackedIndex, Shard
from sr_lightning.errors import TrainingFailedError, UserError
from sr_lightning.files import sha256

log = logging.getLogger(__name__)

_ATTEMPTS = 4  # with 1, 2 and 4 seconds between them


def is_remote(folder: str) -> bool:
    """Whether a folder is an address, such as `s3://bucket/set`; `local:<folder>` is treated as one."""
    return "://" in folder or folder.startswith("local:")


class ShardFiles:
    """Provides the local path of each file of a packed set.

    Files of an object store are fetched through litdata on demand, each once for all processes of this machine. The
    least recently used ones are removed when the cache is full. A file that a process has mapped may be removed: its
    pages stay readable.

    Args:
        folder: A local folder, or an address.
        cache_dir: Cache of files from an object store.
        max_bytes: Maximum size of all shards in `cache_dir`, over all sets.
    """

    def __init__(self, folder: str, cache_dir: str, max_bytes: int) -> None:
        self.folder = folder.rstrip("/")
        self.is_remote = is_remote(folder)
        self.cache_dir = Path(cache_dir)
        self.max_bytes = max_bytes
        self.set_dir = Path(folder)

    def index(self) -> PackedIndex:
        """The set's index; from an object store it is always fetched, since the set may have been packed again.

        Raises:
            UserError: The index is missing or cannot be fetched.
        """
        if not self.is_remote:
            return PackedIndex.read(self.set_dir / INDEX, self.folder)
        part = self.cache_dir / _process_unique(INDEX)
        try:
            self.cache_dir.mkdir(parents=True, exist_ok=True)
            self._download(INDEX, part)
            found = PackedIndex.read(part, self.folder)
            self.set_dir = self.cache_dir / found.key  # files of another content are never mixed with these
            self.set_dir.mkdir(exist_ok=True)
            os.replace(part, self.set_dir / INDEX)
        except TrainingFailedError as error:
            raise UserError(str(error)) from None
        except OSError as error:
            raise UserError(f"data.shards.cache_dir: cannot write into {self.cache_dir}: {error.strerror}") from None
        finally:
            part.unlink(missing_ok=True)
        return found

    def sidecar(self, name: str) -> Path:
        """A small file of the set that is neither index nor shard."""
        file = self.set_dir / name
        if self.is_remote and not file.exists():
            with one_at_a_time(file):
                if not file.exists():
                    self._download(name, file)
        return file

    def shard(self, shard: Shard) -> Path:
        """A shard's local path; fetches it if needed.

        Raises:
            TrainingFailedError: It cannot be fetched, or differs from what was packed.
        """
        file = self.set_dir / shard.name
        try:
            if self.is_remote:
                os.utime(file)  # most recently used
            size = file.stat().st_size
        except FileNotFoundError:
            if not self.is_remote:
                raise TrainingFailedError(f"data.shards.folder: {file} no longer exists") from None
            size = self._fetch(shard, file)
        if size != shard.bytes:
            raise TrainingFailedError(f"data.shards.folder: {file} has {size} bytes, but {shard.bytes} were packed")
        return file

    def _fetch(self, shard: Shard, file: Path) -> int:
        with one_at_a_time(file):
            if not file.exists():
                self._make_room(shard.bytes)
                part = file.with_name(_process_unique(file.name))
                try:
                    self._download(shard.name, part)
                    if sha256(part) != shard.sha256:
                        address = f"{self.folder}/{shard.name}"
                        raise TrainingFailedError(f"data.shards.folder: {address} is not what was packed")
                    os.replace(part, file)
                finally:
                    part.unlink(missing_ok=True)
        return shard.bytes

    def _make_room(self, needed: int) -> None:
        kept: list[tuple[float, int, Path]] = []
        for path in self.cache_dir.glob("*/*.bin*"):  # also partial files of killed processes
            with contextlib.suppress(FileNotFoundError):  # another process removes files too
                kept.append(((stat := path.stat()).st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total + needed <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _download(self, name: str, target: Path) -> None:
        address = f"{self.folder}/{name}"
        for attempt in range(_ATTEMPTS):
            try:
                downloader = _downloader(self.folder, os.getpid())
                if self.folder.startswith("local:"):
                    downloader.download_file(address, str(target))
                else:  # unlike `download_file` it starts nothing that a fork would miss, and takes http:// endpoints
                    with target.open("wb") as out:
                        downloader.download_fileobj(address, out)
                return
            except UserError:
                raise
            except Exception as error:  # each store has its own kinds
                reason = f"{type(error).__name__}: {error}"
                if isinstance(error, FileNotFoundError):
                    break
            if attempt < _ATTEMPTS - 1:
                log.warning("%s could not be fetched (%s); trying again", address, reason)
                time.sleep(2**attempt)
        raise TrainingFailedError(f"data.shards.folder: cannot fetch {address}: {reason}")


def _process_unique(name: str) -> str:
    """A file name that no other process uses, even on another machine: a file system without locks may be shared."""
    return f"{name}.{socket.gethostname()}-{os.getpid()}"


@functools.lru_cache(maxsize=4)
def _downloader(folder: str, process: int) -> Any:
    """One downloader per process: its client must not be shared across a fork."""
    try:
        from litdata.streaming.downloader import get_downloader  # type: ignore[import-untyped]  # it ships no types
    except ImportError:
        raise UserError(NEEDS_LITDATA.format(key=f"data.shards.folder: {folder}")) from None
    options = {}
    if folder.startswith("s3://"):
        from botocore.config import Config  # type: ignore[import-untyped]  # it ships no types

        # litdata would try a thousand times: a wrong address looks like a run that hangs.
        options = {"config": Config(retries={"total_max_attempts": 2, "mode": "standard"}, connect_timeout=10)}
    try:
        return get_downloader(folder, ".", [], options)
    except ModuleNotFoundError as error:  # gs:// and azure:// have packages of their own
        raise UserError(f"data.shards.folder: {folder} needs another package: {error}") from None


NEEDS_LITDATA = "{key} needs litdata; allowed: pip install 'sr_lightning[streaming]'"
