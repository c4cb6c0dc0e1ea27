"""From folders named in a config to checked sets of images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sr_lightning.data.bad_files import BadFileRecord, BadImagesError
from sr_lightning.data.cache.store import ImageStore, Shrink, content_key
from sr_lightning.data.datasets import Images
from sr_lightning.data.duplicates.mismatched_pairs import refuse_mismatched
from sr_lightning.data.files import find_images, pair_images
from sr_lightning.data.requirements import OnBadImage as OnBadImage
from sr_lightning.data.requirements import OnSmall as OnSmall
from sr_lightning.data.requirements import held_out, least_side
from sr_lightning.errors import UserError
from sr_lightning.text import enumerated, listed

log = logging.getLogger(__name__)

Stored = Callable[[list[Path]], tuple[Images, Images | None]]
# Scale -> HR file -> its ready-made LR file: leaving an image out cannot shift the others.
Pairs = dict[int, dict[Path, Path]]


class SetFinder:
    """Finds, pairs, decodes and checks.

    Args:
        scales: Scales at which LR images are needed.
        extensions: Endings that count as images.
        cache_dir: Where decoded images are kept.
        store_limit: Bytes of decoded images of one set above which they are decoded on demand; None: no limit.

    Attributes:
        left_out: Number of bad training images that `training` does without.
    """

    def __init__(
        self, scales: Sequence[int], *, extensions: Sequence[str], cache_dir: str, store_limit: int | None = None
    ) -> None:
        self.scales = list(scales)
        self.extensions = list(extensions)
        self.cache_dir = cache_dir
        self.store_limit = store_limit
        self.left_out = 0
        self._stores: dict[tuple[object, ...], ImageStore] = {}

    def training(
        self,
        folders: Sequence[str],
        *,
        lr_folders: Sequence[str] | None,
        files: Sequence[str] | None,
        patch_size: int,
        on_small: OnSmall,
        on_bad_image: OnBadImage = "error",
        holdout: int,
        shrink: Sequence[float] = (),
    ) -> tuple[Images, Images | None]:
        """The training images and those of them that are held out for validation.

        Args:
            folders: Folders of HR images.
            lr_folders: Folders of LR images, one for each of `folders`; None: LR is made from HR.
            files: Only these files of each folder; None: all.
            patch_size: Side of the LR patch.
            on_small: What to do about images smaller than the patch.
            on_bad_image: What to do about files that are no images; they are left out, and their LR or HR
                partners with them, before the held-out ones are chosen.
            holdout: Images to hold out, evenly spread over the sorted list.
            shrink: Factors of further copies of each training image.

        Raises:
            BadImagesError: Files are no images.
            UserError: Too few images, images that are too small, or pairs that do not fit.
        """
        found: list[Path] = []
        pairs: Pairs = {scale: {} for scale in self.scales} if lr_folders else {}
        for index, folder in enumerate(folders):
            hr = find_images(folder, extensions=self.extensions, files=files, key="data.train_dir")
            found += hr
            if lr_folders:
                self._pair(pairs, hr, lr_folders[index], "data.train_lr_dir")
        copies = _shrink(shrink, patch_size * max(self.scales), is_paired=bool(lr_folders))

        def stored(files: list[Path]) -> tuple[Images, Images | None]:
            held = held_out(files, holdout)
            kept = self._large_enough([path for path in files if path not in set(held)], patch_size, on_small)
            train = self._images("train", kept, pairs, copies)
            return train, self._images("heldout", held, pairs) if held else None

        return stored(found) if on_bad_image == "error" else self._without_bad(found, pairs, stored)

    def _without_bad(self, found: list[Path], pairs: Pairs, stored: Stored) -> tuple[Images, Images | None]:
        """Stores the good ones: as if all were, then without those that turned out not to be."""
        owner = {path: path for path in found} | {lr: hr for lr_of in pairs.values() for hr, lr in lr_of.items()}
        files = list(owner)
        known = BadFileRecord(files, Path(self.cache_dir, f"{content_key(files)}.bad.json"))
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
        if bad:
            known.write(bad)
            self.left_out = len(without)
            lines = listed([f"{path}: {reason}" for path, reason in bad.items()]).replace("\n", "\n  ")
            log.warning(
                "%d of %d training images left out (data.on_bad_image=skip):\n  %s", len(without), len(found), lines
            )
        return images

    def evaluation(self, key: str, name: str, entry: str | dict[str, Any], *, crop: int | None = None) -> Images:
        """A set to validate or test on.

        Args:
            key: Its config key, for the messages.
            name: Its name in tables.
            entry: HR folder, or `{hr: folder, lr: folder, files: [names]}`.
            crop: Side of the centre crop that will be evaluated.

        Raises:
            UserError: No images, pairs that do not fit, or images too small to evaluate.
        """
        entry = entry if isinstance(entry, dict) else {"hr": entry}
        hr = find_images(entry["hr"], extensions=self.extensions, files=entry.get("files"), key=key)
        pairs: Pairs = {}
        if entry.get("lr") is not None:
            pairs = {scale: {} for scale in self.scales}
            self._pair(pairs, hr, entry["lr"], f"{key}.lr")
        images = self._images(name, hr, pairs)
        needed = least_side(max(self.scales))
        for path, size in zip(images.hr.paths, images.hr.sizes, strict=True):
            side = min(*size, crop or min(size))
            if side < needed:
                raise UserError(f"{key}: {path}: {side} pixels are too few at x{max(self.scales)}; needed: {needed}")
        return images

    def every_file(self, entries: Sequence[str | dict[str, Any]]) -> list[Path]:
        """The files of sets that are named as in `evaluation`, at every scale, each once."""
        found: dict[Path, None] = {}
        for entry in entries:
            entry = entry if isinstance(entry, dict) else {"hr": entry}
            for key, files in (("hr", entry.get("files")), ("lr", None)):
                for scale in self.scales if entry.get(key) is not None else ():
                    folder = str(entry[key]).replace("{scale}", str(scale))
                    found |= dict.fromkeys(find_images(folder, extensions=self.extensions, files=files))
        return list(found)

    def _pair(self, pairs: Pairs, hr: list[Path], lr_folder: str, key: str) -> None:
        for scale in self.scales:
            lr = pair_images(hr, lr_folder, scale, extensions=self.extensions, key=key)
            pairs[scale] |= dict(zip(hr, lr, strict=True))

    def _images(self, name: str, hr: list[Path], pairs: Pairs, shrink: Shrink | None = None) -> Images:
        lr = {scale: self._stored([lr_of[path] for path in hr]) for scale, lr_of in pairs.items()}
        hr_store = self._stored(hr, shrink)
        images = Images(name, hr_store, lr or None)
        images.check_pairs()
        for store in lr.values():
            refuse_mismatched(hr_store, store)
        for store in (hr_store, *lr.values()):
            for lost, count in store.lost.items():
                log.warning("%s: %d of %d images have %s", name, count, len(set(store.paths)), lost)
        return images

    def _stored(self, files: Sequence[Path], shrink: Shrink | None = None) -> ImageStore:
        key = (*files, shrink)
        if key not in self._stores:  # sizes are looked at before a set is put together
            self._stores[key] = ImageStore(files, self.cache_dir, shrink=shrink, limit=self.store_limit)
        return self._stores[key]

    def _large_enough(self, files: list[Path], patch_size: int, on_small: OnSmall) -> list[Path]:
        if on_small == "mirror":
            return files
        largest = max(self.scales)
        needed = patch_size * largest
        sizes = self._stored(files).sizes
        small = {path: size for path, size in zip(files, sizes, strict=True) if min(size) < needed}
        if not small:
            return files
        what = f"data.patch_size {patch_size} at x{largest} needs images of {needed} pixels and more"
        if on_small == "error" or len(small) == len(files):
            shown = enumerated([f"{path} ({size[1]}x{size[0]})" for path, size in small.items()], most=5)
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
        raise UserError("data.shrink: shrinks HR images, found ready-made LR ones; allowed: no data.train_lr_dir")
    return Shrink(tuple(factors), least) if factors else None
