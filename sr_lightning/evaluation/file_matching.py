"""Matching of image files to test images by name: suffixes, sub-folders per set and scale, repeated names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sr_lightning.data.files import find_images
from sr_lightning.errors import UserError
from sr_lightning.text import enumerated

_SCALE = re.compile(r"(?<![a-z0-9])(?:x([2-9])|([2-9])x)(?![a-z0-9])", re.IGNORECASE)
_SCALE_BEHIND_NAME = re.compile(r"^x([2-9])(?![a-z0-9])", re.IGNORECASE)  # DIV2K: 0801x4
_SCALE_FOLDER = re.compile(r"x?([2-9])x?", re.IGNORECASE)
_NOT_SR = re.compile(r"(?<![a-z])(lr|lq|hr|gt|bicubic|bic|nearest|bilinear|error|diff)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class FileName:
    """A stem that a test image's prediction may start with; with its sub-folder if names repeat."""

    stem: str
    folder: str | None = None

    def suffix(self, path: Path) -> str | None:
        """Returns the rest of a file's name; None if it does not start with the stem."""
        is_there = self.folder is None or path.parent.name == self.folder
        return path.stem[len(self.stem) :] if is_there and path.stem.startswith(self.stem) else None


def possible_names(path: Path, unique: str) -> list[FileName]:
    """Returns the names that match a test image.

    Args:
        path: HR file of the test image.
        unique: Name in saved predictions; see `image_names`.
    """
    names = [FileName(unique)]
    if unique != path.stem:
        names.append(FileName(path.stem, path.parent.name))
    if path.stem.endswith("HR"):
        names.append(FileName(path.stem.removesuffix("HR") + "LR"))
    return names


def candidate_files(root: Path, name: str, scale: int, *, others: Sequence[str]) -> list[Path]:
    """Returns the files below a folder that no sub-folder's name assigns to another set or scale."""
    other_sets = {other.lower() for other in others} - {name.lower()}
    found, in_its_own = [], []
    for path in find_images(root, key="predictions"):
        parts = [part.lower() for part in path.relative_to(root).parts[:-1]]
        scales = [int(tag[1]) for part in parts if (tag := _SCALE_FOLDER.fullmatch(part))]
        if not any(part in other_sets for part in parts) and all(tag == scale for tag in scales):
            found.append(path)
            in_its_own += [path] if name.lower() in parts else []
    return in_its_own or found


def match_files(stems: Sequence[Sequence[FileName]], candidates: Sequence[Path], scale: int) -> list[Path]:
    """Returns each image's file: the image's name plus a suffix that is common to all images of the set.

    Args:
        stems: The matching names of each test image.
        candidates: Files of the set at this scale.
        scale: The scale factor; suffixes for another scale do not match.

    Raises:
        UserError: An image has no matching file, or several.
    """
    by_suffix = _by_suffix(stems, candidates, scale)
    first = stems[0][0].stem
    if not by_suffix:
        raise UserError(f"no file is named after a test image; expected {first}.png, {first}_x{scale}.png and the like")
    complete = {suffix: found for suffix, found in by_suffix.items() if len(found) == len(stems)}
    if not complete:
        found = max(by_suffix.values(), key=len)
        missing = [names[0].stem for i, names in enumerate(stems) if i not in found]
        example = next(iter(found.values()))[0].name
        raise UserError(f"no image for {enumerated(missing)}, though there is {example}")
    if len(complete) > 1:  # LR and HR copies often sit beside the results
        complete = {suffix: found for suffix, found in complete.items() if not _NOT_SR.search(suffix)} or complete
    for i, names in enumerate(stems):
        fitting = [path for found in complete.values() for path in found[i]]
        if len(fitting) > 1:
            files = enumerated(list(map(str, fitting)))
            raise UserError(f"several files fit {names[0].stem}: {files}; allowed: one for each image")
    (found,) = complete.values()
    return [found[i][0] for i in range(len(stems))]


def _by_suffix(
    stems: Sequence[Sequence[FileName]], candidates: Sequence[Path], scale: int
) -> dict[str, dict[int, list[Path]]]:
    """Maps suffix -> image -> matching files."""
    found: dict[str, dict[int, list[Path]]] = {}
    for image, names in enumerate(stems):
        for path in candidates:
            suffixes = {suffix for name in names if (suffix := name.suffix(path)) is not None}
            for suffix in suffixes:
                if _is_suffix(suffix, scale):
                    found.setdefault(suffix, {}).setdefault(image, []).append(path)
    return found


def _is_suffix(text: str, scale: int) -> bool:
    """Returns whether a text can follow an image's name: separated from it, and not for another scale."""
    tags = [int(tag[1] or tag[2]) for tag in _SCALE.finditer(text.replace("_", "-"))]
    if behind := _SCALE_BEHIND_NAME.match(text.replace("_", "-")):
        tags.append(int(behind[1]))
    return (not text or not text[0].isalnum() or behind is not None) and all(tag == scale for tag in tags)
