"""Ordered files of a set, and pairing of HR and LR files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sr_lightning.errors import UserError
from sr_lightning.files import walk
from sr_lightning.text import enumerated, listed

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def find_images(
    folder: str | Path,
    *,
    extensions: Sequence[str] = EXTENSIONS,
    files: Sequence[str] | None = None,
    key: str = "folder",
    misnamed: list[Path] | None = None,
) -> list[Path]:
    """Returns the images below a folder, sorted by their path inside it, each real file once.

    Hidden files and folders are left out; links are followed, but never twice to the same file.

    Args:
        folder: The folder, searched recursively.
        extensions: File name extensions that count as images, with or without the dot; case is ignored.
        files: Use only these, given as paths relative to `folder` in any order; None for all.
        key: Config key to name in error messages.
        misnamed: Receives the files whose names are not valid UTF-8, which are then left out; None: they are an error.

    Raises:
        UserError: The folder does not exist or contains no image, some of `files` are missing, or names are not UTF-8.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{key}: {folder} is not a folder")
    if files is not None:
        missing = [name for name in files if not (folder / name).is_file()]
        if missing:
            way = "; allowed: data=folder, or data.train_files=null, for all images of the folder"
            lacks = f"{key}: {folder} lacks {enumerated(missing)}"
            raise UserError(lacks + (way if key == "data.train_dir" else ""))
        return [folder / name for name in sorted(set(files))]
    allowed = {f".{extension.lower().lstrip('.')}" for extension in extensions}
    if not allowed:
        raise UserError("data.extensions: found an empty list, allowed: extensions such as .png")
    found: dict[str, Path] = {}
    others: set[str] = set()
    for path in sorted(walk(folder), key=lambda p: p.relative_to(folder).as_posix()):
        if path.suffix.lower() in allowed:
            found.setdefault(os.path.realpath(path), path)
        else:
            others.add(path.suffix.lower() or "(none)")
    if odd := [path for path in found.values() if not _is_text(path)]:
        if misnamed is None:
            names = enumerated([ascii(str(path)) for path in odd])
            raise UserError(f"{key}: names that are not in UTF-8: {names}; allowed: rename them")
        misnamed += odd
        found = {real: path for real, path in found.items() if path not in odd}
    if not found:
        seen = f"found only files with the extensions {', '.join(sorted(others))}" if others else "found no file at all"
        raise UserError(f"{key}: no image in {folder}: {seen}; data.extensions allows {', '.join(sorted(allowed))}")
    return list(found.values())


def excluded(
    names: Sequence[str],
    folders: Sequence[str | Path],
    images: Sequence[Path],
    *,
    key: str = "data.exclude_files",
    folders_key: str = "data.train_dir",
) -> set[Path]:
    """Returns the images named by a setting such as `data.exclude_files`.

    Args:
        names: Each is a path relative to `folders`, which applies to all of them, or a full path, as in messages. A
            link and its target are the same file.
        folders: The folders that contain the images.
        images: The images found in them.
        key: The setting, for messages.
        folders_key: The setting that names the folders, for messages.

    Raises:
        UserError: A name matches no image (a misspelt one would silently be trained on), or no image would be left.
    """
    real: dict[str, set[Path]] = {}
    for path in images:
        real.setdefault(os.path.realpath(path), set()).add(path)
    found: set[Path] = set()
    missing = []
    for name in names:
        places = {os.path.realpath(path) for path in (Path(name), *(Path(folder, name) for folder in folders))}
        if hits := set[Path]().union(*(real.get(place, ()) for place in places)):
            found |= hits
        else:
            missing.append(name)
    if missing:
        raise UserError(f"{key}: {enumerated(missing)}: found among no images of {folders_key}")
    if names and len(found) == len(images):
        raise UserError(f"{key}: leaves no image of {folders_key}")
    return found


def _is_text(path: Path) -> bool:
    """Checks that a name is valid text: file systems store bytes, and other names fit into no log and no table."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def pair_images(
    hr: Sequence[Path],
    lr_folder: str,
    scale: int,
    *,
    hr_folder: str | Path,
    extensions: Sequence[str] = EXTENSIONS,
    key: str = "data.train_lr_dir",
) -> list[Path]:
    """Returns the ready-made LR file of each HR file, found by name.

    `0001.png` pairs with `0001.png`, `0001x4.png` (DIV2K) or `0001_x4.png`, and `img_SRF_4_HR.png` with
    `img_SRF_4_LR.png` (SelfExSR). The LR folder's name may contain `{scale}` (`…/X{scale}`). In sub-folders,
    `a/0001.png` pairs with `a/0001x4.png`; it pairs with a file of another sub-folder only if the HR name is unique.

    Raises:
        UserError: An HR file has no LR file or several, or LR files are left over; the message names them.
    """
    pairs, findings = match_pairs(hr, lr_folder, scale, hr_folder=hr_folder, extensions=extensions, key=key)
    if findings:
        folder = lr_folder.replace("{scale}", str(scale))
        raise UserError(f"{key}: {folder} does not pair with the HR images\n{listed(findings, indent='  ')}")
    return [pairs[path] for path in hr]


def match_pairs(
    hr: Sequence[Path], lr_folder: str, scale: int, *, hr_folder: str | Path, extensions: Sequence[str], key: str
) -> tuple[dict[Path, Path], list[str]]:
    """Like `pair_images`, but returns HR file -> LR file for unique matches, and a line for each mismatch."""
    folder = Path(lr_folder.replace("{scale}", str(scale)))
    by_stem: dict[str, list[Path]] = {}
    for path in find_images(folder, extensions=extensions, key=key):
        by_stem.setdefault(path.stem, []).append(path)
    count = Counter(path.stem for path in hr)
    pairs: dict[Path, Path] = {}
    claimed: set[Path] = set()
    findings: list[str] = []
    for path in hr:
        stem, own = path.stem, path.relative_to(hr_folder)
        candidates = {stem, f"{stem}x{scale}", f"{stem}_x{scale}"}
        if stem.endswith("HR"):
            candidates.add(stem.removesuffix("HR") + "LR")
        named = [file for name in sorted(candidates) for file in by_stem.get(name, [])]
        beside = [file for file in named if file.parent.relative_to(folder) == own.parent]
        fitting = beside if beside or count[stem] > 1 else named
        claimed.update(fitting)
        if len(fitting) == 1:
            pairs[path] = fitting[0]
        else:
            several = ", ".join(file.relative_to(folder).as_posix() for file in fitting)
            found = f"several: {several}" if fitting else "none"
            findings.append(f"{own.as_posix()}: expected one LR file ({', '.join(sorted(candidates))}), found {found}")
    left = [file.relative_to(folder).as_posix() for files in by_stem.values() for file in files if file not in claimed]
    if left:
        findings.append(f"no HR image belongs to {enumerated(sorted(left))}")
    return pairs, findings
