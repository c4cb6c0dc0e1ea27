"""Images made by any program, matched by name to the test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sr_lightning.data.batch import EvalBatch
from sr_lightning.data.datasets import EvalImages
from sr_lightning.errors import UserError
from sr_lightning.evaluation.file_matching import candidate_files, match_files, possible_names
from sr_lightning.evaluation.method import Method
from sr_lightning.evaluation.predictions import image_names
from sr_lightning.evaluation.scores import BICUBIC, MethodId
from sr_lightning.image.decoder import FORMATS, decode
from sr_lightning.text import enumerated, listed

Wanted = tuple[str, int, int]
"""Set, scale and index in the set of a test image."""
LOSSY = (".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, kw_only=True)
class SavedImages(Method):
    """Images from a folder, scored as they are."""

    source: str
    """Folder of the images."""
    files: Mapping[Wanted, Path] = field(repr=False)
    """File of each test image."""
    is_timed: bool = False

    @property
    def id(self) -> MethodId:
        """Label and folder."""
        return MethodId(self.label, self.source)

    @property
    def facts(self) -> dict[str, Any]:
        """Facts without a checkpoint: the program that made the images is unknown."""
        return {"checkpoint": None, "predictions": self.source, "params": None}

    @property
    def notes(self) -> list[str]:
        """Remarks below the table."""
        lossy = [path.name for path in self.files.values() if path.suffix.lower() in LOSSY]
        return [f"{self.label}: {enumerated(lossy, most=2)} may be compressed with losses"] if lossy else []

    def predict(self, batch: EvalBatch) -> Tensor:
        """Reads the image, (1, 3, h·s, w·s) uint8.

        Raises:
            UserError: The file cannot be read, is transparent, or is grey although the test image is not.
        """
        path = self.files[batch.set, batch.scale, batch.key]
        sr = torch.from_numpy(decode(path).rgb.copy()).permute(2, 0, 1)[None].to(batch.hr.device)
        if tuple(sr.shape) != tuple(batch.hr.shape):
            raise UserError(f"{path}: {_wrong_size(sr.shape[-2:], batch.hr.shape[-2:], batch.scale)}")
        with Image.open(path, formats=FORMATS) as image:  # it has been decoded, so it is an image of this size
            if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
                raise UserError(f"{path}: is partly transparent; allowed: RGB, or an alpha channel of 255 everywhere")
        if _is_grey(sr) and not _is_grey(batch.hr):
            raise UserError(
                f"{path}: is grey, but {batch.name} has colours; allowed: RGB (from a Y channel saved as a grey image "
                "the range of Y cannot be told)"
            )
        return sr


def _is_grey(image: Tensor) -> bool:
    """Returns whether the channels of (1, 3, H, W) are equal."""
    return bool((image[:, 0] == image[:, 1]).all() and (image[:, 1] == image[:, 2]).all())


def match_predictions(
    folders: Mapping[str, str], images: EvalImages, *, taken: Sequence[Method] = ()
) -> list[SavedImages]:
    """Returns one method for each program.

    Args:
        folders: Folder -> name of the program in tables.
        images: The test images.
        taken: Methods whose names are already in use.

    Raises:
        UserError: As in `match_saved_images`, for all programs at once.
    """
    labels = {BICUBIC.label, *(method.label for method in taken)}
    found, findings = [], []
    for folder, label in folders.items():
        try:
            found.append(match_saved_images(f"{label} (images)" if label in labels else label, folder, images))
        except UserError as error:
            findings.append(str(error))
    if findings:
        raise UserError("\n".join(findings))
    return found


def match_saved_images(label: str, folder: str, images: EvalImages) -> SavedImages:
    """Finds the image that another program made for each test image.

    Files are matched by name. The test image's name may be followed by a suffix, the same for all images of a set
    (`baby_x4_SR.png`); sub-folders may be named after set and scale (`Set5/x4`, `x4/Set5`, `Set5`). `{set}` and
    `{scale}` in `folder` state them explicitly. For a name that ends in `HR`, the file's name may have `LR` instead.

    Args:
        label: Name of the program in tables.
        folder: Folder, searched recursively.
        images: The test images.

    Raises:
        UserError: A test image has no file or several, or a file has another size; the message lists all problems.
    """
    sets = {found.name: found for found, _, _ in images.items}
    names = image_names(images)
    files: dict[Wanted, Path] = {}
    findings: list[str] = []
    for name, scale in dict.fromkeys((found.name, scale) for found, scale, _ in images.items):
        hr = sets[name].hr
        root = Path(folder.replace("{set}", name).replace("{scale}", str(scale)))
        stems = [possible_names(path, names[name, i]) for i, path in enumerate(hr.paths)]
        candidates = candidate_files(root, name, scale, others=[other for other in sets if other != name])
        try:
            found = match_files(stems, candidates, scale)
        except UserError as error:
            findings.append(f"{name} x{scale}: {error}")
            continue
        for i, path in enumerate(found):
            files[name, scale, i] = path
            expected = tuple(side // scale * scale for side in hr.sizes[i])
            if (size := _size(path)) is not None and size != expected:
                findings.append(f"{path}: {_wrong_size(size, expected, scale)}")
    findings += _used_twice(files)
    if findings:
        raise UserError(f"predictions: {folder} cannot be scored as {label}\n{listed(findings, indent='  ')}")
    return SavedImages(
        label=label, source=folder, files=files, scales=tuple(sorted({scale for _, scale, _ in images.items}))
    )


def _size(path: Path) -> tuple[int, int] | None:
    """Returns (H, W) from the file's header; None if unreadable, which decoding will explain."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            is_turned = image.getexif().get(274, 1) in (5, 6, 7, 8)
            return (image.width, image.height) if is_turned else (image.height, image.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _wrong_size(found: Sequence[int], expected: Sequence[int], scale: int) -> str:
    return (
        f"is {found[1]}x{found[0]}, allowed: {expected[1]}x{expected[0]} (the test image, cropped to a multiple of "
        f"{scale})"
    )


def _used_twice(files: Mapping[Wanted, Path]) -> list[str]:
    users: dict[Path, list[Wanted]] = {}
    for wanted, path in files.items():
        users.setdefault(path, []).append(wanted)
    return [
        f"{path}: fits {' and '.join(f'{name} x{scale}' for name, scale, _ in wanted)}; allowed: sub-folders or "
        "suffixes that tell the scale, such as x4, or one scale at a time"
        for path, wanted in users.items()
        if len(wanted) > 1
    ]
