"""Image sets named by a config: finding, pairing, decoding and checking of their files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sr_lightning.data.bad_files import BadImagesError, Findings, measured
from sr_lightning.data.cache.store import ImageStore, Shrink
from sr_lightning.data.duplicates.mismatched_pairs import refuse_mismatched
from sr_lightning.data.files import find_images, pair_images
from sr_lightning.data.images import Images, Size, mismatches
from sr_lightning.data.inspection.pair_shift import warn_about_shifts
from sr_lightning.data.requirements import refuse_too_small
from sr_lightning.errors import UserError
from sr_lightning.files import UnsafeNameError, inside
from sr_lightning.text import listed

log = logging.getLogger(__name__)

# Scale -> HR file -> its ready-made LR file: leaving out an image cannot shift the others.
Pairs = dict[int, dict[Path, Path]]


class SetFinder:
    """Finds, pairs, decodes and checks image sets.

    Args:
        scales: Scales at which LR images are needed.
        extensions: File name extensions that count as images.
        cache_dir: Folder in which decoded images are cached.
        store_limit: Bytes of decoded images of one set above which they are decoded on demand; None: no limit.
    """

    def __init__(
        self, scales: Sequence[int], *, extensions: Sequence[str], cache_dir: str, store_limit: int | None = None
    ) -> None:
        self.scales = list(scales)
        self.extensions = list(extensions)
        self.cache_dir = cache_dir
        self.store_limit = store_limit
        self._stores: dict[tuple[object, ...], ImageStore] = {}

    def evaluations(
        self, role: str, entries: Mapping[str, str | dict[str, Any]], *, crop: int | None = None
    ) -> list[Images]:
        """Returns the sets of `data.val` or `data.test`.

        Args:
            role: `val` or `test`.
            entries: Name -> HR folder, or `{hr: folder, lr: folder, files: [names]}`.
            crop: Side length of the centre crop to be evaluated.

        Raises:
            BadImagesError: Some files are not valid images; it names all of them, in every set.
            UserError: There are no images, pairs do not fit, or images are too small to evaluate; all in one message.
        """
        findings = Findings()
        sets: list[Images] = []
        for name, entry in entries.items():
            with findings.collected():
                sets.append(self.evaluation(f"data.{role}.{name}", name, entry, crop=crop))
        findings.raise_all()
        return sets

    def evaluation(self, key: str, name: str, entry: str | dict[str, Any], *, crop: int | None = None) -> Images:
        """Returns one set of `evaluations`; `key` is its config key, for messages."""
        try:
            inside(Path(), name, r"[^/]+")  # the names of result files contain it
        except UnsafeNameError as error:
            raise UserError(f"{key}: the set's name {error}; allowed: a plain name") from None
        entry = entry if isinstance(entry, dict) else {"hr": entry}
        hr = find_images(entry["hr"], extensions=self.extensions, files=entry.get("files"), key=key)
        lr_folder = entry.get("lr")
        pairs = {} if lr_folder is None else self.paired(hr, entry["hr"], lr_folder, key=f"{key}.lr")

        def check(paths: Sequence[Path], sizes: Sequence[Size]) -> None:
            refuse_too_small(key, paths, sizes, scale=max(self.scales), crop=crop)

        try:
            check(hr, self.stored(hr).sizes)
            return self.images(name, hr, pairs)
        except UserError:
            self.refuse_all(hr, pairs, check)
            raise

    def refuse_all(
        self, hr: Sequence[Path], pairs: Pairs, check: Callable[[Sequence[Path], Sequence[Size]], object]
    ) -> None:
        """Inspects all files once more, to name everything that is wrong with them in one message.

        Args:
            hr: The HR files.
            pairs: The LR file of each HR file, by scale.
            check: Raises UserError if HR images are too small.

        Raises:
            BadImagesError: Some files are not valid images, and nothing else is wrong.
            UserError: Images are too small, or the sizes of pairs do not fit.
        """
        findings = Findings()
        sizes: dict[Path, Size] = {}
        bad: dict[Path, str] = {}
        for files in (hr, *([lr_of[path] for path in hr] for lr_of in pairs.values())):
            try:
                sizes |= dict(zip(files, self.stored(files).sizes, strict=True))
            except UserError:
                good, reasons = measured(files)
                sizes |= good
                bad |= reasons
        with findings.collected():
            if bad:
                raise BadImagesError(bad)
        with findings.collected():
            good_hr = [path for path in hr if path in sizes]
            check(good_hr, [sizes[path] for path in good_hr])
        with findings.collected():
            lines: list[str] = []
            for scale, lr_of in pairs.items():
                good_pairs = [(path, lr_of[path]) for path in hr if path in sizes and lr_of[path] in sizes]
                for one, other in good_pairs:
                    lines += mismatches([one], [sizes[one]], [other], [sizes[other]], scale)
            if lines:
                raise UserError(listed(lines))
        findings.raise_all()

    def paired(self, hr: Sequence[Path], hr_folder: str, lr_folder: str, *, key: str) -> Pairs:
        """Returns the ready-made LR file of each HR file, at every scale."""
        pairs: Pairs = {}
        for scale in self.scales:
            lr = pair_images(hr, lr_folder, scale, hr_folder=hr_folder, extensions=self.extensions, key=key)
            pairs[scale] = dict(zip(hr, lr, strict=True))
        return pairs

    def images(self, name: str, hr: Sequence[Path], pairs: Pairs, shrink: Shrink | None = None) -> Images:
        """Returns a decoded set of these files, whose pairs fit in size and content.

        Raises:
            BadImagesError: Some files are not valid images.
            UserError: Pairs do not fit.
        """
        lr = {scale: self.stored([lr_of[path] for path in hr]) for scale, lr_of in pairs.items()}
        hr_store = self.stored(hr, shrink)
        images = Images(name, hr_store, lr or None)
        images.check_pairs()
        for scale, store in lr.items():
            refuse_mismatched(hr_store, store)
            warn_about_shifts(name, hr_store, store, scale)
        for store in (hr_store, *lr.values()):
            for lost, count in store.lost.items():
                log.warning("%s: %d of %d images have %s", name, count, len(set(store.paths)), lost)
        return images

    def stored(self, files: Sequence[Path], shrink: Shrink | None = None) -> ImageStore:
        """Returns the store of these files, decoded only once."""
        key = (*files, shrink)
        if key not in self._stores:  # sizes are read before a set is assembled
            self._stores[key] = ImageStore(files, self.cache_dir, shrink=shrink, limit=self.store_limit)
        return self._stores[key]
