"""Sources of training images: their common interface, and the source that reads folders."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from sr_lightning.data.bad_files import BadFileRecord, BadImagesError
from sr_lightning.data.cache.content_key import content_key
from sr_lightning.data.cache.store import Shrink
from sr_lightning.data.files import excluded, find_images
from sr_lightning.data.image_sets import Pairs, SetFinder
from sr_lightning.data.images import Images, Size
from sr_lightning.data.requirements import OnBadImage, OnSmall, held_out, large_enough, refuse_too_small
from sr_lightning.errors import UserError
from sr_lightning.image.resize import Kernel
from sr_lightning.text import listed

HELD_OUT = "heldout"
"""Name of the set of held-out training images."""

log = logging.getLogger(__name__)


class TrainingSet(NamedTuple):
    """The result of a training source."""

    images: Images
    """The images to train on."""
    held_out: Images | None = None
    """The images to validate on, if the source was asked to hold some out."""
    left_out: int = 0
    """Number of bad files left out."""


class TrainingSource(Protocol):
    """Interface of the sources of training images (`data.source`)."""

    def training(self, *, patch_size: int, scale: int, on_small: OnSmall) -> TrainingSet:
        """Finds and checks the training images.

        Args:
            patch_size: Side length of the LR patch.
            scale: The largest scale.
            on_small: How to treat images smaller than the patch (see `requirements.large_enough`).

        Raises:
            BadImagesError: Some files are not valid images; it names all of them.
            UserError: The images do not meet the requirements.
        """


class FolderSource:
    """Folders of HR images, with or without ready-made LR images.

    Args:
        sets: Finds and decodes the files.
        folders: Folders of HR images.
        lr_folders: Folders of LR images, one per folder in `folders`; None: LR is made from HR.
        files: Use only these files of each folder; None: all.
        exclude: Do not use these files (see `files.excluded`).
        on_bad_image: How to treat files that are damaged or not images at all: refuse all of them in one message, or
            leave them out, each with its LR or HR counterpart, before held-out images are chosen. They are listed in
            the log at every start and counted in the results.
        holdout: Number of images to hold out, evenly spread over the sorted list.
        shrink: Factors of additional copies of each training image, downscaled with MATLAB's bicubic (Kim et al. 2016,
            VDSR; Lai et al. 2017, LapSRN). Copies smaller than a patch are left out.
        shrink_kernel: Kernel that makes the copies; `bicubic_double` is the rule of older versions.

    Raises:
        UserError: The arguments are inconsistent.
    """

    def __init__(
        self,
        sets: SetFinder,
        folders: Sequence[str],
        *,
        lr_folders: Sequence[str] | None = None,
        files: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        on_bad_image: OnBadImage = "error",
        holdout: int = 0,
        shrink: Sequence[float] = (),
        shrink_kernel: Kernel = "bicubic",
    ) -> None:
        if lr_folders is not None and len(lr_folders) != len(folders):
            raise UserError(
                f"data.train_lr_dir: found {len(lr_folders)} folders for {len(folders)} in data.train_dir, "
                "allowed: one for each"
            )
        if wrong := [factor for factor in shrink if not 0 < factor < 1]:
            raise UserError(f"data.shrink: found {wrong[0]}, allowed: factors above 0 and below 1")
        if shrink and lr_folders:
            raise UserError("data.shrink: shrinks HR images, found ready-made LR ones; allowed: no data.train_lr_dir")
        self.sets = sets
        self.folders = list(folders)
        self.lr_folders = lr_folders
        self.files = files
        self.exclude = exclude
        self.on_bad_image = on_bad_image
        self.holdout = holdout
        self.shrink = tuple(shrink)
        self.shrink_kernel: Kernel = shrink_kernel

    def training(self, *, patch_size: int, scale: int, on_small: OnSmall) -> TrainingSet:
        """Implements `TrainingSource.training`."""
        found, pairs = self.found()
        copies = Shrink(self.shrink, patch_size * scale, self.shrink_kernel) if self.shrink else None

        def large(paths: Sequence[Path], sizes: Sequence[Size]) -> list[Path]:
            numbers = large_enough(paths, sizes, patch_size=patch_size, scale=scale, on_small=on_small)
            return [paths[i] for i in numbers]

        def stored(files: Sequence[Path]) -> TrainingSet:
            held = held_out(files, self.holdout)
            kept = [path for path in files if path not in set(held)]
            if on_small != "mirror":  # no size is needed
                kept = large(kept, self.sets.stored(kept).sizes)
            if held:
                refuse_too_small("data.val_holdout", held, self.sets.stored(held).sizes, scale=scale)
            train = self.sets.images("train", kept, pairs, copies)
            return TrainingSet(train, self.sets.images(HELD_OUT, held, pairs) if held else None)

        owner = {path: path for path in found} | {lr: hr for lr_of in pairs.values() for hr, lr in lr_of.items()}
        if self.on_bad_image == "skip":
            return self._without_bad(found, owner, stored)
        try:
            return stored(found)
        except UserError:
            self.sets.refuse_all(found, pairs, large)
            raise

    def found(self) -> tuple[list[Path], Pairs]:
        """Returns the HR files, those to be held out included, and the LR file of each by scale.

        Raises:
            UserError: A folder is not there, or its files do not fit the settings.
        """
        found: list[Path] = []
        pairs: Pairs = {scale: {} for scale in self.sets.scales} if self.lr_folders else {}
        for index, folder in enumerate(self.folders):
            hr = find_images(folder, extensions=self.sets.extensions, files=self.files, key="data.train_dir")
            found += hr
            if self.lr_folders:
                for scale, lr_of in self.sets.paired(
                    hr, folder, self.lr_folders[index], key="data.train_lr_dir"
                ).items():
                    pairs[scale] |= lr_of
        if without := excluded(self.exclude, self.folders, found):
            log.info("%d of %d training images excluded (data.exclude_files)", len(without), len(found))
            found = [path for path in found if path not in without]
            pairs = {s: {hr: lr for hr, lr in lr_of.items() if hr not in without} for s, lr_of in pairs.items()}
        return found, pairs

    def _without_bad(
        self, found: list[Path], owner: Mapping[Path, Path], stored: Callable[[Sequence[Path]], TrainingSet]
    ) -> TrainingSet:
        """Stores the good files: first tries all, then leaves out those that turn out to be bad."""
        files = list(owner)
        known = BadFileRecord(files, Path(self.sets.cache_dir, f"{content_key(files)}.bad.json"))
        bad = known.read()
        while True:
            without = {owner[path] for path in bad}
            if len(without) == len(found):
                raise BadImagesError(bad)
            try:
                images = stored([path for path in found if path not in without])
                break
            except BadImagesError as error:
                bad |= error.reasons
        if not bad:
            return images
        known.write(bad)
        lines = listed([f"{path}: {reason}" for path, reason in bad.items()]).replace("\n", "\n  ")
        log.warning(
            "%d of %d training images left out (data.on_bad_image=skip):\n  %s", len(without), len(found), lines
        )
        return images._replace(left_out=len(without))


def one_source(
    sets: SetFinder,
    *,
    train_dir: str | list[str] | None,
    train_lr_dir: str | list[str] | None,
    train_files: list[str] | None,
    exclude_files: list[str] | None,
    shrink: list[float],
    on_bad_image: OnBadImage,
    holdout: int,
    shrink_kernel: Kernel,
    others: Mapping[str, TrainingSource | None],
) -> TrainingSource:
    """Returns the one source of training images that a config names.

    Args:
        sets: Finds and decodes the files of folders.
        train_dir: One or several folders; this and the following ones up to `holdout` are arguments of `FolderSource`.
        train_lr_dir: Argument `lr_folders` of `FolderSource`.
        train_files: Argument `files` of `FolderSource`.
        exclude_files: Argument `exclude` of `FolderSource`.
        shrink: Argument `shrink` of `FolderSource`.
        on_bad_image: Argument `on_bad_image` of `FolderSource`.
        holdout: Argument `holdout` of `FolderSource`.
        shrink_kernel: Argument `shrink_kernel` of `FolderSource`.
        others: Other sources by their config key below `data`, used instead of folders.

    Raises:
        UserError: No source or several are named, or folder settings are combined with another source.
    """
    named = {key: source for key, source in others.items() if source is not None}
    if len(named) + bool(train_dir) != 1:
        keys = ", ".join(f"data.{key}" for key in ("train_dir", *others))
        found = ", ".join((["data.train_dir"] if train_dir else []) + [f"data.{key}" for key in named])
        raise UserError(f"{keys}: found {found or 'none of them'}, allowed: one of them")
    if named and (train_lr_dir or train_files or exclude_files or shrink or holdout):
        raise UserError(
            f"data.{next(iter(named))}: found beside train_lr_dir, train_files, exclude_files, shrink or val_holdout; "
            "allowed: LR made from HR, and sets of their own to validate on (+data.val.Mine=<folder>)"
        )
    if named:
        return next(iter(named.values()))
    assert train_dir
    return FolderSource(
        sets,
        [train_dir] if isinstance(train_dir, str) else train_dir,
        lr_folders=[train_lr_dir] if isinstance(train_lr_dir, str) else train_lr_dir,
        files=train_files,
        exclude=exclude_files or (),
        on_bad_image=on_bad_image,
        holdout=holdout,
        shrink=shrink,
        shrink_kernel=shrink_kernel,
    )
