"""Verified, resumable downloads of files with known checksums."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import pooch  # type: ignore[import-untyped]  # has no type hints
import requests  # a dependency of pooch

from sr_lightning.data.download import DOWNLOADS
from sr_lightning.files import UnsafeNameError, inside, take_lock

_TIMEOUT = (10.0, 30.0)  # seconds: for connecting, and without receiving a byte
_ATTEMPTS = 3
_CHUNK = 1 << 16
_MAX_BYTES = 50 * 10**9  # of a file whose size is not known in advance


class FetchError(Exception):
    """A file could not be fetched; the message is the reason, without the file's name."""


class Cancelled(Exception):
    """The user stopped the command."""


@dataclass(frozen=True)
class RemoteFile:
    """One downloadable file of a data set."""

    name: str
    url: str
    hash: str
    """Hexadecimal SHA-256, or `md5:…` if the authors publish nothing else."""
    bytes: int | None
    folder: str
    """Target folder, relative to the root of the data sets."""

    @property
    def is_archive(self) -> bool:
        """Whether the file is extracted into a folder of the same name."""
        return self.name.endswith((".zip", ".tar"))

    @property
    def hash_text(self) -> str:
        """The checksum in the form `sha256 …` or `md5 …`."""
        kind, _, digest = self.hash.rpartition(":")
        return f"{kind or 'sha256'} {digest}"


@dataclass(frozen=True)
class RemoteSet:
    """A downloadable data set."""

    name: str
    origin: str
    licence: str
    files: tuple[RemoteFile, ...]


def remote_sets() -> dict[str, RemoteSet]:
    """Returns the data sets available for download, from `downloads.json`."""
    found = {}
    for name, entry in json.loads(DOWNLOADS.read_text(encoding="utf-8")).items():
        files = [
            RemoteFile(file, entry["url"] + file, digest, size, entry["folder"])
            for file, (digest, size) in entry["files"].items()
        ]
        found[name] = RemoteSet(name, entry["origin"], entry["licence"], tuple(files))
    return found


class Fetcher:
    """Downloads files; safe to use from several threads.

    Args:
        stop: Once set, every transfer ends with `Cancelled`; partial files are kept and resumed by the next call.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self._local = threading.local()
        self._reached: set[str] = set()
        self._unreachable: dict[str, str] = {}

    def fetch(self, file: RemoteFile, folder: Path, advance: Callable[[int], None]) -> bool:
        """Ensures that `folder` contains the file.

        Received bytes are kept in `.<name>.part` until the file is complete and its checksum correct. A partial file
        from an earlier call is resumed if the server supports HTTP Range, and otherwise downloaded again.

        Args:
            file: The file to download.
            folder: Target folder; created if needed.
            advance: Called with the number of bytes received; negative if they have to be received again.

        Returns:
            False if the file already existed with the correct checksum.

        Raises:
            FetchError: There is no connection, an error response, a wrong checksum, or a different file of this name.
        """
        try:
            target, part = (inside(folder, name, r"[^/]+") for name in (file.name, f".{file.name}.part"))
        except UnsafeNameError as error:
            raise FetchError(str(error)) from None
        if target.exists():
            if not (target.is_file() and pooch.file_hash(str(target), _kind(file)) == file.hash.rpartition(":")[2]):
                raise FetchError("there is another file of this name, which is kept; move it away")
            advance(target.stat().st_size)
            return False
        pooch.get_logger().setLevel("ERROR")  # the command prints its own messages
        is_resumed = part.exists()
        transfer = _Transfer(self, file, part, advance)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            pooch.retrieve(file.url, file.hash, fname=file.name, path=folder, downloader=transfer)
            os.chmod(target, 0o644)  # pooch's temporary file is private
        except ValueError:  # pooch's error for a wrong checksum
            part.unlink(missing_ok=True)
            advance(-transfer.received)
            if is_resumed:  # the partial file may belong to an older version: restart from the first byte
                return self.fetch(file, folder, advance)
            raise FetchError("what the server sent has another hash; it was thrown away") from None
        except requests.RequestException as error:
            raise FetchError(_reason(error)) from None
        except OSError as error:
            raise FetchError(f"cannot write to {folder}: {error.strerror or error}") from None
        return True

    def get(self, url: str, headers: dict[str, str]) -> Any:
        """Opens a URL; a host that has never been reached is tried only once."""
        host = urlsplit(url).netloc
        if host in self._unreachable:
            raise requests.ConnectionError(self._unreachable[host])
        if not hasattr(self._local, "session"):
            self._local.session = _Session()
        try:
            response = self._local.session.get(url, headers=headers, stream=True, timeout=_TIMEOUT)
        except requests.ConnectionError as error:
            if host in self._reached:  # it exists, so another attempt is worthwhile
                raise requests.Timeout(_cause(error)) from None
            self._unreachable[host] = f"no connection to {host} ({_cause(error)})"
            raise requests.ConnectionError(self._unreachable[host]) from None
        self._reached.add(host)
        return response


class _Session(requests.Session):
    """Follows redirects, but never from https to http."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target: str | None = super().get_redirect_target(resp)
        if target and urlsplit(resp.url).scheme == "https" and urlsplit(urljoin(resp.url, target)).scheme != "https":
            raise requests.exceptions.InvalidSchema(f"the server redirects from https to {target}, which is refused")
        return target


class _Transfer:
    """A pooch downloader that resumes a partial file."""

    def __init__(self, fetcher: Fetcher, file: RemoteFile, part: Path, advance: Callable[[int], None]) -> None:
        self.fetcher = fetcher
        self.file = file
        self.part = part
        self.received = 0
        self._advance = advance

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                self._continue(url)
                break
            except (requests.exceptions.ChunkedEncodingError, requests.Timeout):
                if attempt == _ATTEMPTS - 1:
                    raise
        os.replace(self.part, output_file)

    def _continue(self, url: str) -> None:
        have = self.part.stat().st_size if self.part.exists() else 0
        if self.file.bytes is not None and have > self.file.bytes:
            self.part.unlink()
            have = 0
        self._count(have - self.received)
        if have and have == self.file.bytes:
            return
        # Never compressed: a range refers to the bytes that are sent.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with self.fetcher.get(url, headers) as response:
            if response.status_code == 416 and have:  # nothing left to send: complete, as the hash will verify
                return
            response.raise_for_status()
            start = have if response.status_code == 206 else 0
            self._count(start - self.received)
            length = response.headers.get("Content-Length", "")
            total = start + int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
            if total is not None and total != (self.file.bytes or total):
                raise FetchError(f"the server has {total} bytes; expected: {self.file.bytes}")
            if (total or 0) > (self.file.bytes or _MAX_BYTES):
                raise FetchError(f"the server has {total} bytes; expected: {_MAX_BYTES} at most")
            try:
                self._write(response, start, total or self.file.bytes)
            except requests.ConnectionError as error:  # raised by requests if a read times out
                raise requests.Timeout(_cause(error)) from None

    def _write(self, response: requests.Response, start: int, total: int | None) -> None:
        with self.part.open("ab") as out:
            self._lock(out)
            if start == 0:
                out.truncate(0)
            elif out.tell() != start:  # another process has meanwhile written to it, or completed it
                raise requests.Timeout
            for chunk in response.iter_content(_CHUNK):
                if self.fetcher.stop.is_set():
                    raise Cancelled
                out.write(chunk)
                self._count(len(chunk))
                if self.received > (total or _MAX_BYTES):
                    raise FetchError(f"the server sends more than the {total or _MAX_BYTES} bytes expected")
        if total is not None and self.received < total:
            raise requests.exceptions.ChunkedEncodingError(
                f"the connection ended after {self.received} of {total} bytes"
            )

    def _lock(self, out: IO[bytes]) -> None:
        try:
            is_taken = take_lock(out.fileno())
        except OSError:
            return  # the file system has no locks
        if not is_taken:
            raise FetchError("another process is downloading it; the same command continues afterwards")

    def _count(self, n: int) -> None:
        self.received += n
        self._advance(n)


def _kind(file: RemoteFile) -> str:
    return file.hash.rpartition(":")[0] or "sha256"


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "the server has stopped answering; the next call continues"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection ended early; the next call continues"
    return str(error)


def _cause(error: BaseException) -> str:
    """Returns the innermost reason: requests wraps urllib3's error, which wraps that of the socket."""
    while inner := (error.__cause__ or error.__context__):
        error = inner
    return getattr(error, "strerror", None) or str(error)
