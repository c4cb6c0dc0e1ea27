"""Recognises a benchmark and judges whether figures on it can stand beside published ones.

A folder is recognised by what its images show, not by its name. Images of Set5 and Set14 are known by the hash of
their pixels and a perceptual hash, so that altered ones are recognised too; those of BSD100 and Urban100 only by the
hash of their files (`known` holds the tables).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sr_lightning.data.benchmarks.reference import (
    Benchmark,
    KnownImage,
    PublishedRow,
    known_benchmarks,
    published,
    reference_bicubic,
)
from sr_lightning.data.duplicates.fingerprint import (
    HASH_RADIUS,
    TURNS,
    Fingerprint,
    fingerprint,
    hash_bits,
    hash_distances,
    perceptual_hash,
    pixel_hash,
)
from sr_lightning.files import sha256
from sr_lightning.image.decoder import decode
from sr_lightning.text import enumerated

__all__ = ["PublishedRow", "Recognition", "published", "recognise", "reference_bicubic", "self_check", "set_findings"]

PSNR_TOLERANCE, SSIM_TOLERANCE = 0.005, 0.0005
_SCALES = (2, 3, 4)


@dataclass(frozen=True)
class Recognition:
    """Which benchmark a folder is, and how it differs from it."""

    benchmark: str
    images: int
    """Images in the folder."""
    missing: tuple[str, ...]
    """Names of the benchmark's images that are not there."""
    altered: Mapping[str, str]
    """File name -> whose image it is and what was done to it."""
    foreign: tuple[str, ...]
    """Names of files that are no image of the benchmark, or one that is there already."""

    @property
    def is_exact(self) -> bool:
        """All images, pixel for pixel, and no other."""
        return not (self.missing or self.altered or self.foreign)


@dataclass(frozen=True)
class _Seen:
    """A file of the folder; pixels are hashed only where the file itself is not known."""

    name: str
    file: str
    size: tuple[int, int] = (0, 0)
    pixels: tuple[str, ...] = ()
    """Of the image, and of what is left of it without an odd last row, column or both."""
    bits: NDArray[np.bool_] | None = None
    """(8, 256): the perceptual hash in each turn."""


def recognise(paths: Sequence[Path], prints: Mapping[Path, Fingerprint] | None = None) -> Recognition | None:
    """Which benchmark these images are, by content.

    A benchmark is recognised by half of its images, or where it makes up half of the folder (two images at least).

    Args:
        paths: The files.
        prints: Of those that have been decoded already; they need not be again.

    Raises:
        UserError: An image cannot be read.
    """
    benchmarks = known_benchmarks()
    files = {digest for benchmark in benchmarks.values() for digest in benchmark.files}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seen = list(pool.map(lambda path: _look(path, files, (prints or {}).get(path)), paths))
    best: tuple[int, Recognition] | None = None
    for benchmark in benchmarks.values():
        exact, altered = _matches(seen, benchmark)
        n, total = len(exact) + len(altered), len(benchmark.files)
        if 2 * n < total and (n < 2 or 2 * n < len(seen)):
            continue
        if best is None or n > best[0]:
            here = {*exact.values(), *(name for name, _ in altered.values())}
            recognition = Recognition(
                benchmark.name,
                images=len(seen),
                missing=tuple(name for name in benchmark.files.values() if name not in here),
                altered={seen[i].name: f"{name}, {how}" for i, (name, how) in sorted(altered.items())},
                foreign=tuple(s.name for i, s in enumerate(seen) if i not in exact and i not in altered),
            )
            best = n, recognition
    return best[1] if best else None


def self_check(recognition: Recognition, scale: int, psnr: float, ssim: float) -> list[str]:
    """What keeps a table from standing beside published ones.

    Args:
        recognition: The set.
        scale: The scale.
        psnr: Of the bicubic row on this set, in dB on Y.
        ssim: Likewise.

    Returns:
        One sentence for each finding; none where the set is exact and its bicubic row is the reference's (within
        0.005 dB and 0.0005), or where no reference is known at this scale.
    """
    known = known_benchmarks()[recognition.benchmark]
    if not recognition.is_exact:
        return set_findings(recognition)
    reference = known.bicubic.get(scale)
    if reference is None or _equals((psnr, ssim), reference):
        return []
    finding = (
        f"{known.name} x{scale}: bicubic gives {psnr:.3f} dB / {ssim:.4f}, the reference is {reference[0]:.3f} dB / "
        f"{reference[1]:.4f}, though every image is right"
    )
    others = {what: row for what, row in known.otherwise.get(scale, {}).items() if _equals((psnr, ssim), row)}
    if others:
        nearest = min(others, key=lambda what: abs(others[what][0] - psnr))
        return [f"{finding}: it is the row of {nearest}"]
    return [f"{finding}: no kernel or protocol that is known gives this row"]


def _look(path: Path, known_files: set[str], print_: Fingerprint | None) -> _Seen:
    digest = sha256(path)
    if digest in known_files:
        return _Seen(path.name, digest)
    print_ = print_ or fingerprint(decode(path).rgb)
    height, width = print_.size
    # Some distributions keep an odd last row or column that no scale uses (comic.png has 361 rows or 360).
    even = [(height // 2 * 2, width), (height, width // 2 * 2), (height // 2 * 2, width // 2 * 2)]
    same = [(h, w) for h, w in dict.fromkeys(even) if _is_used_as((h, w), (height, width))]
    rgb = decode(path).rgb if same else None
    pixels = [print_.pixels, *(pixel_hash(rgb[:h, :w]) for h, w in same if rgb is not None)]
    bits = hash_bits([perceptual_hash(print_.thumb, turn) for turn in range(8)])
    return _Seen(path.name, digest, print_.size, tuple(pixels), bits)


def _is_used_as(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether a crop of b to a is another size, and nothing that any scale looks at is lost with it."""
    return a != b and all(x // scale == y // scale for scale in _SCALES for x, y in zip(a, b, strict=True))


def _matches(seen: Sequence[_Seen], benchmark: Benchmark) -> tuple[dict[int, str], dict[int, tuple[str, str]]]:
    """Index -> name of the image that a file is, and index -> name of the one it was made from, and how."""
    by_pixels = {image.pixels: name for name, image in benchmark.images.items()}
    exact: dict[int, str] = {}
    for i, file in enumerate(seen):
        names = [benchmark.files.get(file.file), *(by_pixels.get(pixels) for pixels in file.pixels)]
        name = next((name for name in names if name), None)
        if name and name not in exact.values():
            exact[i] = name
    left = [name for name in benchmark.images if name not in exact.values()]
    pairs = sorted(pair for i, file in enumerate(seen) if i not in exact for pair in _near(i, file, left, benchmark))
    altered: dict[int, tuple[str, str]] = {}
    for _, i, name, turn in pairs:
        if i not in altered and name not in [taken for taken, _ in altered.values()]:
            altered[i] = name, _how(seen[i], benchmark.images[name], turn)
    return exact, altered


def _near(i: int, file: _Seen, names: Sequence[str], benchmark: Benchmark) -> list[tuple[int, int, str, int]]:
    """(distance, i, name, turn) of the images that a file may have been made from."""
    if file.bits is None or not names:
        return []
    wanted = hash_bits([benchmark.images[name].phash for name in names])
    distances = hash_distances(file.bits, wanted)  # (8, names)
    nearest = distances.argmin(0)
    found = [(int(distances[turn, j]), i, names[j], int(turn)) for j, turn in enumerate(nearest)]
    return [pair for pair in found if pair[0] <= HASH_RADIUS]


def _how(file: _Seen, image: KnownImage, turn: int) -> str:
    (height, width), (own_height, own_width) = image.size, file.size
    sizes = f"from {width}x{height} to {own_width}x{own_height}"
    if multiple := next((image.crops[pixels] for pixels in file.pixels if pixels in image.crops), None):
        return f"cropped to a multiple of {multiple} ({sizes})"
    resized = f"resized {sizes}" if sorted(file.size) != sorted(image.size) else ""
    return ", ".join(what for what in (TURNS[turn], resized) if what) or "other pixels: re-encoded or retouched"


def set_findings(recognition: Recognition) -> list[str]:
    """How a set differs from its benchmark, a sentence for each kind of difference; none where it is exact."""
    known = known_benchmarks()[recognition.benchmark]
    findings = []
    if recognition.missing:
        n = len(known.files)
        there = f"{n - len(recognition.missing)} of {n} images are there"
        findings.append(f"{known.name} is incomplete: {there}; missing: {enumerated(recognition.missing)}")
    if recognition.altered:
        changes = [f"{file} ({how})" for file, how in recognition.altered.items()]
        findings.append(f"{known.name} was altered: {enumerated(changes)}")
    if recognition.foreign:
        only = "" if known.images else " (its images are known by their files only: one saved again counts as such)"
        findings.append(f"{known.name} holds images that are not its own{only}: {enumerated(recognition.foreign)}")
    return findings


def _equals(row: tuple[float, float], reference: tuple[float, float]) -> bool:
    return abs(row[0] - reference[0]) <= PSNR_TOLERANCE and abs(row[1] - reference[1]) <= SSIM_TOLERANCE
