"""Check of all images of a run: decoding, sizes, LR/HR pairs, duplicates, leakage, benchmarks."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sr_lightning.data.benchmarks.recognition import recognise, set_findings
from sr_lightning.data.duplicates.fingerprint import Fingerprint, hash_bits, perceptual_hash
from sr_lightning.data.duplicates.mismatched_pairs import find_mismatched
from sr_lightning.data.duplicates.search import find_duplicates, find_duplicates_within, is_same_image
from sr_lightning.data.files import excluded, find_images, match_pairs
from sr_lightning.data.inspection.pair_shift import CONVENTION, Shift, common_shift, measure_shift
from sr_lightning.data.inspection.report import Finding, Report, SetSpec, SetSummary
from sr_lightning.data.requirements import OnBadImage, OnSmall, held_out, least_side
from sr_lightning.errors import UserError
from sr_lightning.files import walk
from sr_lightning.image.decoder import decode
from sr_lightning.text import printable


@dataclass(frozen=True)
class _Image:
    fingerprint: Fingerprint | None
    mode: str = ""
    error: str = ""


@dataclass
class _Set:
    """A set and its files, in order."""

    spec: SetSpec
    paths: list[Path]
    pairs: dict[int, dict[Path, Path]] = field(default_factory=dict)


class DataCheck:
    """Checks all sets of one run together.

    Args:
        scales: Scales that the images have to fit.
        patch_size: Side length of the LR training patch in pixels; None without training.
        on_small: How training would treat images smaller than the patch.
        on_bad_image: How training would treat files that are not valid images.
        extensions: File name extensions that count as images.
        holdout: Number of training images that a run would hold out for validation.
        exclude: Training images that a run would leave out (see `files.excluded`).
    """

    def __init__(
        self,
        *,
        scales: Sequence[int],
        patch_size: int | None,
        on_small: OnSmall = "error",
        on_bad_image: OnBadImage = "error",
        extensions: Sequence[str],
        holdout: int = 0,
        exclude: Sequence[str] = (),
    ) -> None:
        self.scales = list(scales)
        self.patch_size = patch_size
        self.on_small = on_small
        self.on_bad_image = on_bad_image
        self.extensions = list(extensions)
        self.holdout = holdout
        self.exclude = exclude

    def run(self, specs: Sequence[SetSpec]) -> Report:
        """Checks everything; findings are collected, and none ends the check."""
        start = time.perf_counter()
        report = Report()
        sets = [self._find(spec, report) for spec in specs]
        self._exclude([s for s in sets if s.spec.role == "train"], report)
        lr = [path for s in sets for pairs in s.pairs.values() for path in pairs.values()]
        paths = list(dict.fromkeys([path for s in sets for path in s.paths] + lr))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            seen = dict(zip(paths, pool.map(_inspect, paths), strict=True))
        report.pictures = len(paths)
        if self.holdout:
            sets = self._split(sets, seen, report)
        for s in sets:
            self._check_set(s, seen, report)
        self._compare(sets, seen, report)
        report.seconds = time.perf_counter() - start
        return report

    def _find(self, spec: SetSpec, report: Report) -> _Set:
        found, misnamed = _Set(spec, []), list[Path]()
        with _reporting(spec, report):
            found.paths = find_images(
                spec.folder, extensions=self.extensions, files=spec.files, key=spec.key, misnamed=misnamed
            )
            if spec.files is None:
                self._report_left_out(spec, report)
        for path in misnamed:
            message = "the name is not in UTF-8; allowed: rename it"
            report.findings.append(Finding("files", spec.name, (ascii(str(path)),), message))
        for scale in self.scales if spec.lr else ():
            with _reporting(spec, report):
                found.pairs[scale], findings = match_pairs(
                    found.paths,
                    str(spec.lr),
                    scale,
                    hr_folder=spec.folder,
                    extensions=self.extensions,
                    key=f"{spec.key} LR",
                )
                report.findings += [Finding("pairs", spec.name, (), f"x{scale}: {text}") for text in findings]
        return found

    def _exclude(self, train: Sequence[_Set], report: Report) -> None:
        try:
            images = [path for s in train for path in s.paths]
            without = excluded(self.exclude, [s.spec.folder for s in train], images)
        except UserError as error:
            report.findings.append(Finding("files", "train", (), str(error)))
            return
        for s in train:
            s.paths = [path for path in s.paths if path not in without]
            for pairs in s.pairs.values():
                for path in without & pairs.keys():
                    del pairs[path]

    def _report_left_out(self, spec: SetSpec, report: Report) -> None:
        """Reports files that look like images but are not used as such."""
        allowed = tuple(f".{extension.lower().lstrip('.')}" for extension in self.extensions)
        others = dict.fromkeys(walk(Path(spec.folder)), "its extension is not in data.extensions")
        others = {path: reason for path, reason in others.items() if path.suffix.lower() not in allowed}
        others |= {p: "a link to nothing" for p in Path(spec.folder).rglob("*") if p.is_symlink() and not p.exists()}
        for path, reason in sorted(others.items()):
            finding = Finding("files", spec.name, (str(path),), f"is left out: {reason}", is_wrong=False)
            report.findings.append(finding)

    def _split(self, sets: list[_Set], seen: dict[Path, _Image], report: Report) -> list[_Set]:
        """Moves the images that a run would hold out for validation from the training sets to sets of their own."""
        skipped = {path for path, found in seen.items() if found.error} if self.on_bad_image == "skip" else set()
        train = [path for s in sets if s.spec.role == "train" for path in s.paths if path not in skipped]
        try:
            held = set(held_out(train, self.holdout))
        except UserError as error:
            report.findings.append(Finding("files", "train", (), str(error)))
            return sets
        split = []
        for s in sets:
            if s.spec.role == "train":
                spec = SetSpec("val", f"{s.spec.name} held out", s.spec.folder, s.spec.key)
                split.append(_Set(spec, [path for path in s.paths if path in held]))
                s.paths = [path for path in s.paths if path not in held]
        return [s for s in [*sets, *split] if s.paths]

    # -- one set -------------------------------------------------------------------------------------

    def _check_set(self, s: _Set, seen: dict[Path, _Image], report: Report) -> None:
        lr = [path for pairs in s.pairs.values() for path in pairs.values()]
        for path in [*s.paths, *lr]:
            if error := seen[path].error:
                is_skipped = s.spec.role == "train" and self.on_bad_image == "skip"
                error += "; it is left out" if is_skipped else ""
                report.findings.append(Finding("unreadable", s.spec.name, (str(path),), error, not is_skipped))
        sizes = {path: found.size for path in s.paths if (found := seen[path].fingerprint)}
        ordered = sorted(sizes.values(), key=lambda size: size[0] * size[1])
        report.sets.append(
            SetSummary(
                s.spec.name,
                s.spec.role,
                pictures=len(s.paths),
                readable=len(sizes),
                smallest=_size(ordered[0]) if ordered else "",
                largest=_size(ordered[-1]) if ordered else "",
                modes=dict(Counter(seen[path].mode for path in sizes).most_common()),
            )
        )
        for path, size in sizes.items():
            self._check_size(s.spec, path, size, report)
        for scale, pairs in s.pairs.items():
            self._check_pairs(s.spec, scale, pairs, seen, report)
        if s.spec.role == "test":
            recognition = recognise(list(sizes), {path: found for path in sizes if (found := seen[path].fingerprint)})
            for text in set_findings(recognition) if recognition else ():
                report.findings.append(Finding("benchmark", s.spec.name, (s.spec.folder,), text))

    def _check_pairs(
        self, spec: SetSpec, scale: int, pairs: dict[Path, Path], seen: dict[Path, _Image], report: Report
    ) -> None:
        """Compares size and content of LR images with their HR images."""
        files: list[tuple[str, str]] = []
        fingerprints: list[tuple[Fingerprint, Fingerprint]] = []
        fitting: list[tuple[Path, Path]] = []
        for path, small in pairs.items():
            found, whole = seen[small].fingerprint, seen[path].fingerprint
            if not found or not whole:
                continue
            files.append((str(small), str(path)))
            fingerprints.append((found, whole))
            expected = (whole.size[0] // scale, whole.size[1] // scale)
            if found.size == expected:
                fitting.append((small, path))
            else:
                message = f"{_size(found.size)} does not pair with {_size(whole.size)} at x{scale}, which asks for "
                report.findings.append(Finding("pairs", spec.name, files[-1], message + _size(expected)))
        if not fingerprints:
            return
        self._check_shifts(spec, scale, fitting, report)
        lr, hr = (hash_bits([perceptual_hash(pair[side].thumb) for pair in fingerprints]) for side in (0, 1))
        for i, j in find_mismatched(
            lr, hr, lambda i, j: is_same_image(fingerprints[i][0].thumb, fingerprints[j][1].thumb, 0)
        ):
            message = f"shows another image, {files[j][1]}"
            report.findings.append(Finding("pairs", spec.name, files[i], message))

    def _check_shifts(self, spec: SetSpec, scale: int, pairs: Sequence[tuple[Path, Path]], report: Report) -> None:
        """Decodes LR and HR again, since all images together may not fit into memory."""

        def measure(pair: tuple[Path, Path]) -> Shift | None:
            lr, hr = (decode(path).rgb for path in pair)
            return measure_shift(lr, hr, scale)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            shifts = list(pool.map(measure, pairs))
        for (lr, hr), shift in zip(pairs, shifts, strict=True):
            if shift and shift.is_misaligned:
                message = f"the LR image is shifted by {shift}, in HR pixels"
                report.findings.append(Finding("pairs", spec.name, (str(lr), str(hr)), message))
        if (common := common_shift([shift for shift in shifts if shift])) is not None:
            message = f"x{scale}: {CONVENTION.format(shift=common)}"
            report.findings.append(Finding("pairs", spec.name, (), message, is_wrong=False))

    def _check_size(self, spec: SetSpec, path: Path, size: tuple[int, int], report: Report) -> None:
        scale, is_wrong = max(self.scales), True
        if spec.role == "train" and self.patch_size is not None:
            needed = self.patch_size * scale
            then = {"error": "", "skip": "; it is left out", "mirror": "; it is mirrored up to its size"}[self.on_small]
            what = f"smaller than the patch, {needed} pixels (data.patch_size {self.patch_size} at x{scale}){then}"
            is_wrong = self.on_small == "error"
        elif spec.role in ("val", "test"):
            needed = least_side(scale)
            what = f"too small to be evaluated at x{scale}: needed {needed} pixels"
        else:
            return
        if min(size) < needed:
            report.findings.append(Finding("too small", spec.name, (str(path),), f"{_size(size)} is {what}", is_wrong))

    # -- sets against each other ---------------------------------------------------------------------

    def _compare(self, sets: Sequence[_Set], seen: dict[Path, _Image], report: Report) -> None:
        groups: dict[str, list[_Set]] = {}
        for s in sets:
            groups.setdefault(s.spec.role if s.spec.role in ("train", "folder") else s.spec.name, []).append(s)
        for name, members in groups.items():
            paths, fingerprints = _readable(members, seen)
            for duplicate in find_duplicates_within(fingerprints):
                files = (str(paths[duplicate.i]), str(paths[duplicate.j]))
                report.findings.append(Finding("duplicate", name, files, duplicate.how))
        train, val, test = ([s for s in sets if s.spec.role == role] for role in ("train", "val", "test"))
        self._check_leakage(
            train, [s for s in sets if s in val or s in test], seen, report, "trained on", is_wrong=True
        )
        self._check_leakage(val, test, seen, report, "used to choose the checkpoint", is_wrong=False)

    def _check_leakage(
        self,
        others: Sequence[_Set],
        tested: Sequence[_Set],
        seen: dict[Path, _Image],
        report: Report,
        use: str,
        *,
        is_wrong: bool,
    ) -> None:
        """Compares all sets at once, since preparing an image costs far more than a comparison."""
        paths, fingerprints = _readable(tested, seen)
        names = [s.spec.name for s in tested for path in s.paths if seen[path].fingerprint]
        other_paths, other_fingerprints = _readable(others, seen)
        for duplicate in find_duplicates(other_fingerprints, fingerprints):
            files = (str(other_paths[duplicate.i]), str(paths[duplicate.j]))
            report.findings.append(Finding("leakage", names[duplicate.j], files, f"{use}: {duplicate.how}", is_wrong))


@contextmanager
def _reporting(spec: SetSpec, report: Report) -> Iterator[None]:
    """Turns an error into a finding, so that the remaining checks are run too."""
    try:
        yield
    except UserError as error:
        report.findings.append(Finding("files", spec.name, (spec.folder,), str(error)))


def _readable(sets: Iterable[_Set], seen: dict[Path, _Image]) -> tuple[list[Path], list[Fingerprint]]:
    found = [(path, fingerprint) for s in sets for path in s.paths if (fingerprint := seen[path].fingerprint)]
    return [path for path, _ in found], [fingerprint for _, fingerprint in found]


def _inspect(path: Path) -> _Image:
    try:
        image = decode(path)
        return _Image(Fingerprint.of(image.rgb), image.kind)
    except UserError as error:
        return _Image(None, error=str(error).removeprefix(printable(f"{path}: ")))
    except OSError as error:  # since removed, or no permission to read it
        return _Image(None, error=error.strerror or str(error))


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
