"""From folders named in a config to checked sets of pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from sr_lightning.data.datasets import Pictures
from sr_lightning.data.files import find_pictures, pair_pictures
from sr_lightning.data.store import PictureStore, Shrink
from sr_lightning.errors import UserError

log = logging.getLogger(__name__)

OnSmall = Literal["error", "skip", "mirror"]
# Scale -> HR file -> its ready-made LR file: leaving a picture out cannot shift the others.
Pairs = dict[int, dict[Path, Path]]


class SetFinder:
    """Finds, pairs, decodes and checks.

    Args:
        scales: Scales at which LR pictures are needed.
        extensions: Endings that count as pictures.
        cache_dir: Where decoded pictures are kept.
    """

    def __init__(self, scales: Sequence[int], *, extensions: Sequence[str], cache_dir: str) -> None:
        self.scales = list(scales)
        self.extensions = list(extensions)
        self.cache_dir = cache_dir

    def training(
        self,
        folders: Sequence[str],
        *,
        lr_folders: Sequence[str] | None,
        files: Sequence[str] | None,
        patch_size: int,
        on_small: OnSmall,
        holdout: int,
        shrink: Sequence[float] = (),
    ) -> tuple[Pictures, Pictures | None]:
        """The training pictures and those of them that are held out for validation.

        Args:
            folders: Folders of HR pictures.
            lr_folders: Folders of LR pictures, one for each of `folders`; None: LR is made from HR.
            files: Only these files of each folder; None: all.
            patch_size: Side of the LR patch.
            on_small: What to do about pictures smaller than the patch.
            holdout: Pictures to hold out, evenly spread over the sorted list.
            shrink: Factors of further copies of each training picture.

        Raises:
            UserError: Too few pictures, pictures that are too small, or pairs that do not fit.
        """
        found: list[Path] = []
        pairs: Pairs = {scale: {} for scale in self.scales} if lr_folders else {}
        for index, folder in enumerate(folders):
            hr = find_pictures(folder, extensions=self.extensions, files=files, key="data.train_dir")
            found += hr
            if lr_folders:
                self._pair(pairs, hr, lr_folders[index], "data.train_lr_dir")
        held = held_out(found, holdout)
        kept = self._large_enough([path for path in found if path not in set(held)], patch_size, on_small)
        copies = _shrink(shrink, patch_size * max(self.scales), is_paired=bool(lr_folders))
        train = self._pictures("train", kept, pairs, copies)
        return train, self._pictures("heldout", held, pairs) if held else None

    def evaluation(self, key: str, name: str, entry: str | dict[str, Any], *, crop: int | None = None) -> Pictures:
        """A set to validate or test on.

        Args:
            key: Its config key, for the messages.
            name: Its name in tables.
            entry: HR folder, or `{hr: folder, lr: folder, files: [names]}`.
            crop: Side of the centre crop that will be evaluated.

        Raises:
            UserError: No pictures, pairs that do not fit, or pictures too small to evaluate.
        """
        entry = entry if isinstance(entry, dict) else {"hr": entry}
        hr = find_pictures(entry["hr"], extensions=self.extensions, files=entry.get("files"), key=key)
        pairs: Pairs = {}
        if entry.get("lr") is not None:
            pairs = {scale: {} for scale in self.scales}
            self._pair(pairs, hr, entry["lr"], f"{key}.lr")
        pictures = self._pictures(name, hr, pairs)
        needed = least_side(max(self.scales))
        for path, size in zip(pictures.hr.paths, pictures.hr.sizes, strict=True):
            side = min(*size, crop or min(size))
            if side < needed:
                raise UserError(f"{key}: {path}: {side} pixels are too few at x{max(self.scales)}; needed: {needed}")
        return pictures

    def _pair(self, pairs: Pairs, hr: list[Path], lr_folder: str, key: str) -> None:
        for scale in self.scales:
            lr = pair_pictures(hr, lr_folder, scale, extensions=self.extensions, key=key)
            pairs[scale] |= dict(zip(hr, lr, strict=True))

    def _pictures(self, name: str, hr: list[Path], pairs: Pairs, shrink: Shrink | None = None) -> Pictures:
        lr = {scale: PictureStore([lr_of[path] for path in hr], self.cache_dir) for scale, lr_of in pairs.items()}
        pictures = Pictures(name, PictureStore(hr, self.cache_dir, shrink=shrink), lr or None)
        pictures.check_pairs()
        return pictures

    def _large_enough(self, files: list[Path], patch_size: int, on_small: OnSmall) -> list[Path]:
        if on_small == "mirror":
            return files
        largest = max(self.scales)
        needed = patch_size * largest
        sizes = PictureStore(files, self.cache_dir).sizes
        small = {path: size for path, size in zip(files, sizes, strict=True) if min(size) < needed}
        if not small:
            return files
        what = f"data.patch_size {patch_size} at x{largest} needs pictures of {needed} pixels and more"
        if on_small == "error" or len(small) == len(files):
            shown = ", ".join(f"{path} ({size[1]}x{size[0]})" for path, size in list(small.items())[:5])
            shown += f" and {len(small) - 5} more" if len(small) > 5 else ""
            fitting = min(min(size) for size in small.values()) // largest
            raise UserError(
                f"{what}; smaller: {shown}. Allowed: data.patch_size={fitting} or less, data.on_small=skip, "
                "data.on_small=mirror"
            )
        log.warning("left out, because %s: %s", what, ", ".join(str(path) for path in small))
        return [path for path in files if path not in small]


def _shrink(factors: Sequence[float], least: int, *, is_paired: bool) -> Shrink | None:
    if wrong := [factor for factor in factors if not 0 < factor < 1]:
        raise UserError(f"data.shrink: found {wrong[0]}, allowed: factors above 0 and below 1")
    if factors and is_paired:
        raise UserError("data.shrink: shrinks HR pictures, found ready-made LR ones; allowed: no data.train_lr_dir")
    return Shrink(tuple(factors), least) if factors else None


def least_side(scale: int) -> int:
    """Pixels that a picture needs to be evaluated: SSIM's window, two shaved borders, one crop to a multiple."""
    return 11 + 3 * scale


def held_out(files: Sequence[Path], count: int) -> list[Path]:
    """As many training pictures as are validated on, evenly spread.

    Raises:
        UserError: Nothing would be left to train on.
    """
    if count >= len(files):
        raise UserError(
            f"data.val_holdout: found {count}, but data.train_dir holds {len(files)} pictures; allowed: fewer than "
            "that, or 0 and a set of its own: +data.val.Mine=<folder>"
        )
    step = len(files) / max(count, 1)
    return [files[int((i + 0.5) * step)] for i in range(count)]
