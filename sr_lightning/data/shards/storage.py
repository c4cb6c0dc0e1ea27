"""Local paths of a packed set's files, whether local or remote; each file is verified before use."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

from sr_lightning.data.shards.cache import ShardCache
from sr_lightning.data.shards.index import INDEX, MAX_INDEX_BYTES, PackedIndex, Shard
from sr_lightning.errors import TrainingFailedError, UserError
from sr_lightning.files import inside, sha256

log = logging.getLogger(__name__)

_ATTEMPTS = 4  # with pauses of 1, 2 and 4 seconds between them


def is_remote(folder: str) -> bool:
    """Whether a folder is an address, such as `s3://bucket/set`; `local:<folder>` is treated as one."""
    return "://" in folder or folder.startswith("local:")


class ShardFiles:
    """Provides the local path of each file of a packed set.

    Files of an object store are fetched on demand through litdata, each once for all processes of this machine. When
    the cache is full, the least recently used ones are removed, even if mapped by a process: its pages remain readable.
    Shards of a local folder are used in place; the cache records which have been verified.

    Args:
        folder: A local folder, or an address.
        cache_dir: Cache of files from an object store.
        max_bytes: Maximum total size of the shards of all sets in `cache_dir`.
    """

    def __init__(self, folder: str, cache_dir: str, max_bytes: int) -> None:
        self.folder = folder.rstrip("/")
        self.is_remote = is_remote(folder)
        self.cache = ShardCache(Path(cache_dir), max_bytes)
        self.cache_dir = Path(cache_dir)
        self.set_dir = Path(folder)

    def index(self) -> PackedIndex:
        """Returns the set's index, which is always fetched from an object store, as the set may have been packed again.

        Raises:
            UserError: The index is missing, cannot be fetched or was not written by `pack`, or a shard is missing.
        """
        if not self.is_remote:
            found = PackedIndex.read(self.set_dir / INDEX, self.folder)
            for shard in found.shards:
                self._local(shard)
            return found
        try:
            self.cache_dir.mkdir(parents=True, exist_ok=True)
            part = self.cache.temporary(self.cache_dir, INDEX)
            try:
                self._download(INDEX, part, MAX_INDEX_BYTES)
                found = PackedIndex.read(part, self.folder)
                self.set_dir = self.cache.set_dir(found.key)  # files of different contents are never mixed
                os.replace(part, inside(self.set_dir, INDEX))
            finally:
                part.unlink(missing_ok=True)
        except TrainingFailedError as error:
            raise UserError(str(error)) from None
        except OSError as error:
            raise UserError(f"data.shards.cache_dir: cannot write into {self.cache_dir}: {error.strerror}") from None
        return found

    def sidecar(self, name: str) -> Path:
        """Returns the path of a small file of the set that is neither index nor shard."""
        file = inside(self.set_dir, name)
        if self.is_remote and not file.exists():
            part = self.cache.temporary(self.set_dir, name)
            try:
                self._download(name, part, MAX_INDEX_BYTES)
                os.replace(part, file)
            finally:
                part.unlink(missing_ok=True)
        return file

    def shard(self, shard: Shard) -> Path:
        """Returns a shard's local path, fetching the shard if needed.

        Raises:
            TrainingFailedError: The shard cannot be fetched.
            UserError: The shard differs from what was packed.
        """
        if not self.is_remote:
            file = self._local(shard)
            self._verify_once(shard, file)
            return file
        file = self.cache.shard(self.set_dir, shard, lambda part: self._fetch(shard, part))
        if (size := file.stat().st_size) != shard.bytes:
            raise UserError(f"data.shards.cache_dir: {file} has {size} bytes, allowed: {shard.bytes}; remove it")
        return file

    def _local(self, shard: Shard) -> Path:
        file = inside(self.set_dir, shard.name)
        if not file.is_file():
            raise UserError(f"data.shards.folder: {file} is missing or not a regular file")
        if (size := file.stat().st_size) != shard.bytes:
            raise UserError(f"data.shards.folder: {file} has {size} bytes, but {shard.bytes} were packed")
        return file

    def _verify_once(self, shard: Shard, file: Path) -> None:
        """Verifies the checksum, unless it was correct before and the file has not been written to since."""
        stat = file.stat()
        stamp = f"{shard.sha256} {stat.st_ino} {stat.st_size} {stat.st_mtime_ns}"
        name = f".verified-{shard.sha256}"
        with contextlib.suppress(OSError, UserError):
            if inside(self.cache_dir, name).read_text(encoding="utf-8") == stamp:
                return
        self._verify(shard, file, str(file))
        with contextlib.suppress(OSError, UserError):  # otherwise the next start verifies it again
            self.cache_dir.mkdir(parents=True, exist_ok=True)
            part = self.cache.temporary(self.cache_dir, name)
            part.write_text(stamp, encoding="utf-8")
            os.replace(part, inside(self.cache_dir, name))

    def _fetch(self, shard: Shard, part: Path) -> None:
        self._download(shard.name, part, shard.bytes)
        self._verify(shard, part, f"{self.folder}/{shard.name}")

    def _verify(self, shard: Shard, file: Path, source: str) -> None:
        if sha256(file) != shard.sha256:
            raise UserError(f"data.shards.folder: {source} is not what was packed: its checksum differs")

    def _download(self, name: str, target: Path, max_bytes: int) -> None:
        address = f"{self.folder}/{name}"
        for attempt in range(_ATTEMPTS):
            try:
                downloader = _downloader(self.folder, os.getpid())
                with _BoundedFile(target, address, max_bytes) as out:
                    if self.folder.startswith("local:"):
                        with open(address.removeprefix("local:"), "rb") as source:
                            shutil.copyfileobj(source, out)
                    else:  # unlike `download_file`, starts no threads that a fork would lose, and supports http://
                        downloader.download_fileobj(address, out)
                return
            except UserError:
                raise
            except Exception as error:  # each store has its own exceptions
                reason = f"{type(error).__name__}: {error}"
                if isinstance(error, FileNotFoundError):
                    break
            if attempt < _ATTEMPTS - 1:
                log.warning("%s could not be fetched (%s); trying again", address, reason)
                time.sleep(2**attempt)
        raise TrainingFailedError(f"data.shards.folder: cannot fetch {address}: {reason}")


class _BoundedFile(io.FileIO):
    """A file limited to the announced number of bytes, so that a server cannot fill up the disk."""

    def __init__(self, path: Path, address: str, max_bytes: int) -> None:
        super().__init__(path, "wb")
        self.address = address
        self.max_bytes = max_bytes

    def write(self, data: Any) -> int:
        if self.tell() + len(memoryview(data).cast("B")) > self.max_bytes:
            raise UserError(f"data.shards.folder: {self.address} is larger than the {self.max_bytes} bytes expected")
        return super().write(data)


@functools.lru_cache(maxsize=4)
def _downloader(folder: str, process: int) -> Any:
    """Returns one downloader per process, as its client must not be shared across a fork."""
    try:
        from litdata.streaming.downloader import get_downloader  # type: ignore[import-untyped]  # has no type hints
    except ImportError:
        raise UserError(NEEDS_LITDATA.format(key=f"data.shards.folder: {folder}")) from None
    options = {}
    if folder.startswith("s3://"):
        from botocore.config import Config  # type: ignore[import-untyped]  # has no type hints

        # By default litdata tries a thousand times, so that a wrong address would look like a run that hangs.
        options = {"config": Config(retries={"total_max_attempts": 2, "mode": "standard"}, connect_timeout=10)}
    try:
        return get_downloader(folder, ".", [], options)
    except ModuleNotFoundError as error:  # gs:// and azure:// need packages of their own
        raise UserError(f"data.shards.folder: {folder} needs another package: {error}") from None


NEEDS_LITDATA = "{key} needs litdata; allowed: pip install 'sr_lightning[streaming]'"
