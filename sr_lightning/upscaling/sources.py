"""Input files found from files, folders and globs, and the output file of each."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sr_lightning.data.files import EXTENSIONS
from sr_lightning.errors import UserError
from sr_lightning.files import walk
from sr_lightning.image.decoder import opened
from sr_lightning.image.encoder import FORMATS, FormatName, format_of
from sr_lightning.image.metadata import read_history
from sr_lightning.image.tiff_reader import read_tiff_history
from sr_lightning.text import counted, listed, single_line

_READ = (*EXTENSIONS, ".jfif", ".gif", ".avif", ".jp2", ".ppm", ".pgm", ".tga", ".qoi")


@dataclass(frozen=True)
class Source:
    """An input file."""

    path: Path
    folder: Path
    """Folder relative to the named folder or glob (`.` for a file named directly); kept below an output folder."""
    is_named: bool
    """Whether the user named this file itself rather than a folder or glob that contains it."""


@dataclass(frozen=True)
class Task:
    """An input file and its output file."""

    source: Path
    output: Path
    format: FormatName


def find_sources(inputs: Sequence[str]) -> tuple[list[Source], list[Path]]:
    """Returns the images that the user means, each real file once, in the order in which they are named.

    Args:
        inputs: Files, folders (searched recursively) and globs (`**` matches any sub-folders). An entry that exists
            under its literal name is not treated as a glob.

    Returns:
        The images, and the files from folders and globs that are left out because `upscale` made them.

    Raises:
        UserError: An entry does not exist or contains no image.
    """
    found: dict[str, Source] = {}
    findings, made = [], []
    for entry in inputs:
        sources = list(_expanded(entry))
        if not sources:
            what = f"{single_line(entry)} {'holds no image' if os.path.isdir(entry) else 'is not there'}"
            findings.append(f"input: {what}; allowed: an image, a folder of images, a glob such as 'photos/*'")
        for source in sources:
            if not source.is_named and history(source.path) is not None:
                made.append(source.path)
            else:
                found.setdefault(os.path.realpath(source.path), source)
    if findings:
        raise UserError("\n".join(findings))
    return list(found.values()), made


def _expanded(entry: str) -> Iterable[Source]:
    path = Path(entry)
    if path.is_file():
        return [Source(path, Path(), is_named=True)]
    if path.is_dir():
        return _images(walk(path), path)
    if not glob.has_magic(entry):
        return []
    parts = path.parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    matches = (Path(match) for match in glob.iglob(entry, recursive=True))
    return _images((match for match in matches if match.is_file()), root)


def _images(paths: Iterable[Path], root: Path) -> list[Source]:
    chosen = sorted(path for path in paths if path.suffix.lower() in _READ and not path.name.startswith("."))
    return [Source(path, path.relative_to(root).parent, is_named=False) for path in chosen]


def history(path: Path) -> str | None:
    """Returns the record that this program left in a file; None for any other file."""
    try:
        with opened(path) as image:
            found = read_history(image)
    except UserError:
        found = read_tiff_history(path) if path.suffix.lower() in (".tif", ".tiff") else None
    return found if found is not None and found.startswith('{"program": "sr_lightning') else None


def plan_outputs(
    sources: Sequence[Source], output: str | None, *, size_name: str, format: FormatName | None
) -> list[Task]:
    """Assigns an output file to each image.

    Args:
        sources: The images.
        output: A folder (an existing one, or a path that ends with a slash or has no image suffix); a file, for a
            single image; or None to write beside each image.
        size_name: `x4` in `photo_x4.png`.
        format: Output format; None takes it from the suffix of `output`, else PNG.

    Raises:
        UserError: Two images would be written to one file, an output would overwrite an input, or the format cannot be
            written.
    """
    named = None if output is None else _named_format(output)
    if output is not None and named is not None:
        if len(sources) > 1 or not sources[0].is_named:
            count = counted(len(sources), "image")
            raise UserError(f"output: {single_line(output)} is one file for {count} of a folder; allowed: a folder")
        if format not in (None, named):
            what = f"{single_line(output)} is a {named.upper()} file, but format={format}"
            raise UserError(f"output: {what}; allowed: one of them")
        return _checked([Task(sources[0].path, Path(output), named)])
    chosen: FormatName = format or "png"
    suffix = FORMATS[chosen].suffixes[0]
    folders = [source.path.parent if output is None else Path(output, source.folder) for source in sources]
    names = Counter((folder, source.path.stem) for folder, source in zip(folders, sources, strict=True))
    tasks = []
    for folder, source in zip(folders, sources, strict=True):
        # a.jpg and a.png become a.jpg_x4.png and a.png_x4.png
        stem = source.path.name if names[folder, source.path.stem] > 1 else source.path.stem
        tasks.append(Task(source.path, folder / f"{stem}_{size_name}{suffix}", chosen))
    return _checked(tasks)


def _named_format(output: str) -> FormatName | None:
    """Returns the format of the file that `output` names; None if it names a folder.

    Raises:
        UserError: It names a file in a format that cannot be written.
    """
    path = Path(output)
    if output.endswith("/") or path.is_dir():
        return None
    if (named := format_of(path)) is None and path.suffix.lower() in _not_written():
        suffixes = ", ".join(entry.suffixes[0] for entry in FORMATS.values())
        raise UserError(
            f"output: {single_line(output)}: {single_line(path.suffix)} files are not written; "
            f"allowed: {suffixes}, or a folder ({single_line(output)}/)"
        )
    return named


def _not_written() -> set[str]:
    """Suffixes of images, a few of which Pillow knows but cannot read."""
    Image.init()
    return {*_READ, *Image.EXTENSION, ".heic", ".heif", ".jxl", ".svg", ".raw", ".dng", ".exr"}


def _checked(tasks: list[Task]) -> list[Task]:
    inputs = {os.path.realpath(task.source) for task in tasks}
    takers: dict[str, list[Path]] = {}
    for task in tasks:
        takers.setdefault(os.path.realpath(task.output), []).append(task.source)
    findings = [
        f"output: {single_line(task.output)} is an input, which is never overwritten; allowed: another name or folder"
        for task in tasks
        if os.path.realpath(task.output) in inputs
    ]
    findings += [
        f"output: {' and '.join(map(single_line, sources))} would be written to one file; allowed: one at a time"
        for sources in takers.values()
        if len(sources) > 1
    ]
    if findings:
        raise UserError(listed(findings))
    return tasks
