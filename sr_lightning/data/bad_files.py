"""Files that cannot be decoded: the error that names all of them, and the record of those skipped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from sr_lightning.data.cache.disk import keep
from sr_lightning.errors import UserError
from sr_lightning.image.decoder import BadImageError, decode
from sr_lightning.text import counted, listed, printable


class BadImagesError(UserError):
    """Some files cannot be decoded; `reasons` lists all of them."""

    def __init__(self, reasons: Mapping[Path, str]) -> None:
        self.reasons = dict(reasons)
        super().__init__(
            f"{listed([f'{path}: {reason}' for path, reason in reasons.items()])}\n"
            f"{counted(len(reasons), 'image')} cannot be used; allowed: whole files; `train` goes on without bad "
            "training images with data.on_bad_image=skip (those to validate and test on are never left out)"
        )


class Findings:
    """Collects the errors found in the parts of a run, so that one message names all of them."""

    def __init__(self) -> None:
        self._errors: list[UserError] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Stores the UserError that ends the block, if any; execution continues after the block."""
        try:
            yield
        except UserError as error:
            self._errors.append(error)

    def raise_all(self) -> None:
        """Raises the stored errors: BadImagesError if only bad files were found, otherwise UserError."""
        bad: dict[Path, str] = {}
        said: list[str] = []
        for error in self._errors:
            if isinstance(error, BadImagesError):
                bad |= error.reasons
            else:
                said += [str(error)] if str(error) not in said else []
        if bad and not said:
            raise BadImagesError(bad)
        if said:
            raise UserError("\n".join([*said, *([str(BadImagesError(bad))] if bad else [])]))


def measured(paths: Sequence[Path]) -> tuple[dict[Path, tuple[int, int]], dict[Path, str]]:
    """Decodes every file; returns the (H, W) of each image, and the reason for each file that is not a valid image."""

    def look(path: Path) -> tuple[int, int] | str:
        try:
            rgb = decode(path).rgb
        except BadImageError as error:
            return error.reason
        except UserError as error:  # missing, or no permission to read it
            return str(error).removeprefix(printable(f"{path}: "))
        return rgb.shape[0], rgb.shape[1]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(paths, pool.map(look, paths), strict=True))
    sizes = {path: said for path, said in found.items() if not isinstance(said, str)}
    return sizes, {path: said for path, said in found.items() if isinstance(said, str)}


class BadFileRecord:
    """Record of the bad files in a list of files, so that later starts need not decode them again.

    Args:
        paths: The files.
        file: The record; its name should identify the content of the files.
    """

    def __init__(self, paths: Sequence[Path], file: Path) -> None:
        self.paths = list(paths)
        self.file = file

    def read(self) -> dict[Path, str]:
        """Returns bad file -> reason; empty if there is no record."""
        try:
            content: dict[str, str] = json.loads(self.file.read_text(encoding="utf-8"))
            return {self.paths[int(number)]: reason for number, reason in content.items()}
        except (OSError, ValueError, AttributeError, IndexError):
            return {}

    def write(self, reasons: Mapping[Path, str]) -> None:
        """Writes the record."""
        numbers = {path: number for number, path in enumerate(self.paths)}
        text = json.dumps({numbers[path]: reason for path, reason in reasons.items()})
        keep(self.file, text)
