"""Bounded local cache of shards: its contents, and what may be removed from it."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from sr_lightning.data.cache.disk import one_at_a_time
from sr_lightning.data.shards.index import Shard
from sr_lightning.errors import UserError
from sr_lightning.files import inside

_MARKER = ".sr_lightning-shards"
_PREFIX = "shards-"
_FILE = re.compile(r"[0-9a-f]{64}\.bin(\.\w+\.part)?")
_SET = re.compile(r"shards-[0-9a-f]{32}")


class ShardCache:
    """Files of packed sets, in `<cache_dir>/shards-<key of the set>/<checksum>.bin`.

    The folder may contain anything else: a set's folder is ours only if it holds our marker, and only files with names
    created by this class are ever removed from it.

    Args:
        cache_dir: The cache's folder.
        max_bytes: Maximum total size of the shards of all sets.
    """

    def __init__(self, cache_dir: Path, max_bytes: int) -> None:
        self.folder = cache_dir
        self.max_bytes = max_bytes

    def set_dir(self, key: str) -> Path:
        """Returns a set's folder, created and marked as ours if needed.

        Raises:
            UserError: A folder of this name exists and is not ours, or is a link.
            OSError: The folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = inside(self.folder, _PREFIX + key, _SET.pattern)
        folder.mkdir(exist_ok=True)
        marker = inside(folder, _MARKER)
        if not marker.is_file():
            if any(folder.iterdir()) and not marker.is_file():  # another process may meanwhile have marked it
                raise UserError(f"{folder} is there and holds other files; allowed: another data.shards.cache_dir")
            marker.touch()
        return folder

    def temporary(self, folder: Path, name: str) -> Path:
        """Creates an empty file that nobody else uses, even if a shared file system has no locks."""
        handle, path = tempfile.mkstemp(dir=folder, prefix=f"{name}.", suffix=".part")
        os.close(handle)
        return Path(path)

    def shard(self, folder: Path, shard: Shard, fetch: Callable[[Path], None]) -> Path:
        """Returns a shard's path; the shard is fetched if it is not in the cache.

        Args:
            folder: The set's folder.
            shard: The shard.
            fetch: Writes the complete, verified shard to a file.
        """
        file = inside(folder, f"{shard.sha256}.bin")
        with contextlib.suppress(FileNotFoundError):
            os.utime(file)  # marks it as most recently used
            return file
        with one_at_a_time(file):
            if not file.exists():
                self._make_room(shard.bytes)
                part = self.temporary(folder, file.name)
                try:
                    fetch(part)
                    os.replace(part, file)
                finally:
                    part.unlink(missing_ok=True)
        return file

    def _make_room(self, needed: int) -> None:
        kept: list[tuple[float, int, Path]] = []
        for folder in self.folder.iterdir():
            is_ours = _SET.fullmatch(folder.name) and not folder.is_symlink() and (folder / _MARKER).is_file()
            for path in folder.iterdir() if is_ours else ():
                if _FILE.fullmatch(path.name):  # including partial files of killed processes
                    with contextlib.suppress(FileNotFoundError):  # another process may remove files too
                        kept.append(((stat := path.lstat()).st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total + needed <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
