"""The files of a packed set: where they lie, or a bounded cache of those that lie in an object store."""

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
    """Gives the local path of each file of a packed set.

    Files of an object store are fetched through litdata when they are asked for, each once for all processes of this
    machine, and stay until the room is needed: those go first that were asked for longest ago. A file that a process
    has mapped may be taken away: its pages stay readable.

    Args:
        folder: A local folder, or an address.
        cache_dir: Where files of an address are kept.
        max_bytes: How much of them, over all sets in `cache_dir`.
    """

    def __init__(self, folder: str, cache_dir: str, max_bytes: int) -> None:
        self.folder = folder.rstrip("/")
        self.is_remote = is_remote(folder)
        self.cache_dir = Path(cache_dir)
        self.max_bytes = max_bytes
        self.home = Path(folder)

    def index(self) -> PackedIndex:
        """The set's index; of an address it is fetched anew, since the set may have been packed again.

        Raises:
            UserError: There is none, or it cannot be fetched.
        """
        if not self.is_remote:
            return PackedIndex.read(self.home / INDEX, self.folder)
        part = self.cache_dir / _own(INDEX)
        try:
            self.cache_dir.mkdir(parents=True, exist_ok=True)
            self._download(INDEX, part)
            found = PackedIndex.read(part, self.folder)
            self.home = self.cache_dir / found.key  # what belongs to another content is never mixed up with this
            self.home.mkdir(exist_ok=True)
            os.replace(part, self.home / INDEX)
        except TrainingFailedError as error:
            raise UserError(str(error)) from None
        except OSError as error:
            raise UserError(f"data.shards.cache_dir: cannot write into {self.cache_dir}: {error.strerror}") from None
        finally:
            part.unlink(missing_ok=True)
        return found

    def other(self, name: str) -> Path:
        """A small file of the set besides the shards."""
        file = self.home / name
        if self.is_remote and not file.exists():
            with one_at_a_time(file):
                if not file.exists():
                    self._download(name, file)
        return file

    def shard(self, shard: Shard) -> Path:
        """A shard, fetched where it is not here.

        Raises:
            TrainingFailedError: It cannot be fetched, or is not what was packed.
        """
        file = self.home / shard.name
        try:
            if self.is_remote:
                os.utime(file)  # asked for now
            size = file.stat().st_size
        except FileNotFoundError:
            if not self.is_remote:
                raise TrainingFailedError(f"data.shards.folder: {file} is not there any more") from None
            size = self._fetch(shard, file)
        if size != shard.bytes:
            raise TrainingFailedError(f"data.shards.folder: {file} has {size} bytes, packed were {shard.bytes}")
        return file

    def _fetch(self, shard: Shard, file: Path) -> int:
        with one_at_a_time(file):
            if not file.exists():
                self._make_room(shard.bytes)
                part = file.with_name(_own(file.name))
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
        for path in self.cache_dir.glob("*/*.bin*"):  # and what a killed process had begun
            with contextlib.suppress(FileNotFoundError):  # another process makes room too
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
                log.warning("%s did not come (%s); trying again", address, reason)
                time.sleep(2**attempt)
        raise TrainingFailedError(f"data.shards.folder: cannot fetch {address}: {reason}")


def _own(name: str) -> str:
    """A name that no other process uses, on no machine: a file system without locks may be shared."""
    return f"{name}.{socket.gethostname()}-{os.getpid()}"


@functools.lru_cache(maxsize=4)
def _downloader(folder: str, process: int) -> Any:
    """One for each process: its client must not be taken along by a fork."""
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
