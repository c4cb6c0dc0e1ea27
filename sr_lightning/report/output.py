"""Output folder of a comparison, which replaces its own files but never anyone else's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sr_lightning.errors import UserError
from sr_lightning.files import inside, outward_links, replacing, sha256, take_lock, write_atomically
from sr_lightning.text import enumerated, shown

MANIFEST = "compare.json"
_NAMES = ("table.md", "table.tex", "table.csv", "compare.html")


class Output:
    """Writes files into a folder and records their checksums in `compare.json`.

    Args:
        folder: The output folder; created by `locked`, or with the first file.

    Raises:
        UserError: The path is not a folder, the folder contains links that lead out of it, or it contains files with
            the names to be written that no comparison has made or that were changed since.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: dict[str, str] = {}
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise UserError(f"output: {shown(folder)} is a file or a link, allowed: a folder")
        if links := outward_links(folder) if folder.exists() else []:
            names = enumerated([shown(link) for link in links], most=3)
            raise UserError(f"output: {names} lead out of {shown(folder)}; allowed: the files themselves")
        self._look()

    def _look(self) -> None:
        self._own = self._manifest()
        manifest = [MANIFEST] if os.path.lexists(path := self.folder / MANIFEST) and not path.is_file() else []
        self._refuse([*manifest, *(name for name in (*_NAMES, *self._own) if (self.folder / name).exists())])

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Creates the folder and locks it against other comparisons while this one writes.

        Raises:
            UserError: Another comparison is writing into the folder, or it cannot be created.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise _cannot_write(self.folder, error) from None
        try:
            if not _locks(descriptor):
                raise UserError(f"output: another compare writes into {shown(self.folder)}; allowed: another folder")
            self._look()  # another comparison may have written since
            yield
        finally:
            os.close(descriptor)

    def write(self, name: str, content: str | bytes) -> Path:
        """Writes one file atomically.

        Raises:
            UserError: A file that is not ours has this name.
        """
        path = inside(self.folder, name)
        if name not in self.written and path.exists():
            self._refuse([name])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as part:
                part.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
        except OSError as error:
            raise _cannot_write(path, error) from None
        self.written[name] = sha256(path)
        self._record({**self._own, **self.written})  # immediately: the process may be killed before the next file
        return path

    def finish(self) -> None:
        """Removes files of an earlier comparison that this one did not write."""
        for name in self._own.keys() - self.written.keys():
            (self.folder / name).unlink(missing_ok=True)
        self._record(self.written)

    def _record(self, files: dict[str, str]) -> None:
        text = json.dumps({"made_by": "sr_lightning.compare", "files": files}, indent=1)
        write_atomically(self.folder / MANIFEST, text)

    def _manifest(self) -> dict[str, str]:
        """Reads the files of an earlier comparison and their checksums; ignores names that lead out of the folder."""
        path = self.folder / MANIFEST
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["files"] if path.is_file() else {}
            return {
                name: found[name] for name in found if _is_plain(self.folder, name) and isinstance(found[name], str)
            }
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}

    def _refuse(self, names: Iterable[str]) -> None:
        foreign = [name for name in dict.fromkeys(names) if not self._is_own(name)]
        if foreign:
            raise UserError(
                f"output: {shown(self.folder)} holds {enumerated(foreign, most=3)}, which compare has not made, or "
                "which was changed since; allowed: another folder, or these files moved away"
            )

    def _is_own(self, name: str) -> bool:
        path = self.folder / name
        return not path.is_symlink() and path.is_file() and self._own.get(name) == sha256(path)


def _locks(descriptor: int) -> bool:
    try:
        return take_lock(descriptor)
    except OSError:  # network file systems do not lock folders
        return True


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(f"output: cannot write {shown(path)}: {error.strerror}; allowed: a folder of yours")


def _is_plain(folder: Path, name: str) -> bool:
    """Returns whether a name is like `table.md` or `plots/curves.svg`, and the file is in the folder itself."""
    parts = Path(name).parts
    inside = len(parts) == 1 or (len(parts) == 2 and parts[0] == "plots" and not (folder / "plots").is_symlink())
    return inside and ".." not in parts and not name.startswith("/") and (folder / name).exists()
