"""Recognition of benchmarks by content, and whether results on them are comparable with published ones.

Folder names do not matter. Images of Set5 and Set14 are recognised by pixel hash and perceptual hash, so that modified
ones are found too; those of BSD100 and Urban100 only by file checksum (see `reference`).
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
    BenchmarkImage,
    load_benchmarks,
)
from sr_lightning.data.duplicates.fingerprint import (
    HASH_RADIUS,
    ORIENTATIONS,
    Fingerprint,
    hash_bits,
    hash_distances,
    perceptual_hash,
    pixel_hash,
)
from sr_lightning.files import sha256
from sr_lightning.image.decoder import decode
from sr_lightning.text import enumerated

PSNR_TOLERANCE, SSIM_TOLERANCE = 0.005, 0.0005
_SCALES = (2, 3, 4)


@dataclass(frozen=True)
class Recognition:
    """The benchmark that a set of images corresponds to, and how the set differs from the original."""

    benchmark: str
    images: int
    """Number of images in the set."""
    missing: tuple[str, ...]
    """Names of the benchmark's images that the set lacks."""
    modified: Mapping[str, str]
    """File name -> name of the original image, and how the file differs from it."""
    extra: tuple[str, ...]
    """Names of files that are not part of the benchmark, or that duplicate one of its images."""

    @property
    def is_exact(self) -> bool:
        """Whether the set holds all images of the benchmark, pixel for pixel, and no others."""
        return not (self.missing or self.modified or self.extra)


@dataclass(frozen=True)
class _Candidate:
    """Hashes of a file in the set; pixels are hashed only if the file's checksum is not that of a benchmark file."""

    name: str
    sha256: str
    size: tuple[int, int] = (0, 0)
    pixels: tuple[str, ...] = ()
    """Pixel hashes of the image and of its crops without an odd last row, column or both."""
    bits: NDArray[np.bool_] | None = None
    """(8, 256): the perceptual hash in each orientation."""


def recognise(paths: Sequence[Path], fingerprints: Mapping[Path, Fingerprint] | None = None) -> Recognition | None:
    """Identifies the benchmark that these images belong to, by content.

    A set is recognised if it contains half of a benchmark's images, or if they make up half of the set (at least two).

    Args:
        paths: The files.
        fingerprints: Fingerprints of files already decoded, to save decoding them again.

    Returns:
        The recognised benchmark; None if there is none.

    Raises:
        UserError: An image cannot be read.
    """
    benchmarks = load_benchmarks()
    known_files = {digest for benchmark in benchmarks.values() for digest in benchmark.files}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seen = list(pool.map(lambda path: _hashed(path, known_files, (fingerprints or {}).get(path)), paths))
    best: tuple[int, Recognition] | None = None
    for benchmark in benchmarks.values():
        exact, modified = _match(seen, benchmark)
        n, total = len(exact) + len(modified), len(benchmark.names)
        if 2 * n < total and (n < 2 or 2 * n < len(seen)):
            continue
        if best is None or n > best[0]:
            present = {*exact.values(), *(name for name, _ in modified.values())}
            recognition = Recognition(
                benchmark.name,
                images=len(seen),
                missing=tuple(name for name in benchmark.names if name not in present),
                modified={seen[i].name: f"{name}, {how}" for i, (name, how) in sorted(modified.items())},
                extra=tuple(s.name for i, s in enumerate(seen) if i not in exact and i not in modified),
            )
            best = n, recognition
    return best[1] if best else None


def comparability_findings(recognition: Recognition, scale: int, psnr: float, ssim: float) -> list[str]:
    """Returns the reasons why results on a set are not comparable with published ones.

    Args:
        recognition: The recognised benchmark.
        scale: Scale factor.
        psnr: PSNR of bicubic interpolation on this set, in dB on Y.
        ssim: SSIM of bicubic interpolation on this set, on Y.

    Returns:
        One sentence per reason; none if the set is exact and its bicubic results match the reference (within 0.005 dB
        and 0.0005), or if no reference is known at this scale.
    """
    known = load_benchmarks()[recognition.benchmark]
    if not recognition.is_exact:
        return set_findings(recognition)
    reference = known.bicubic.get(scale)
    if reference is None or _equals((psnr, ssim), reference):
        return []
    finding = (
        f"{known.name} x{scale}: bicubic gives {psnr:.3f} dB / {ssim:.4f}, the reference is {reference[0]:.3f} dB / "
        f"{reference[1]:.4f}, though every image is right"
    )
    others = {what: row for what, row in known.other_rows.get(scale, {}).items() if _equals((psnr, ssim), row)}
    if others:
        nearest = min(others, key=lambda what: abs(others[what][0] - psnr))
        return [f"{finding}: it is the row of {nearest}"]
    return [f"{finding}: no kernel or protocol that is known gives this row"]


def _hashed(path: Path, known_files: set[str], fingerprint: Fingerprint | None) -> _Candidate:
    digest = sha256(path)
    if digest in known_files:
        return _Candidate(path.name, digest)
    fingerprint = fingerprint or Fingerprint.of(decode(path).rgb)
    height, width = fingerprint.size
    # Some distributions keep an odd last row or column that no scale uses (comic.png has 361 or 360 rows).
    even = [(height // 2 * 2, width), (height, width // 2 * 2), (height // 2 * 2, width // 2 * 2)]
    crops = [(h, w) for h, w in dict.fromkeys(even) if _is_equivalent_crop((h, w), (height, width))]
    rgb = decode(path).rgb if crops else None
    pixels = [fingerprint.pixels, *(pixel_hash(rgb[:h, :w]) for h, w in crops if rgb is not None)]
    bits = hash_bits([perceptual_hash(fingerprint.thumb, orientation) for orientation in range(8)])
    return _Candidate(path.name, digest, fingerprint.size, tuple(pixels), bits)


def _is_equivalent_crop(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Checks that cropping size b to a only removes pixels that are cropped to a multiple at every scale anyway."""
    return a != b and all(x // scale == y // scale for scale in _SCALES for x, y in zip(a, b, strict=True))


def _match(seen: Sequence[_Candidate], benchmark: Benchmark) -> tuple[dict[int, str], dict[int, tuple[str, str]]]:
    """Returns file index -> name of the equal image; index -> name of its original, and how the file differs."""
    by_pixels = {image.pixels: name for name, image in benchmark.images.items()}
    exact: dict[int, str] = {}
    for i, file in enumerate(seen):
        names = [benchmark.files.get(file.sha256), *(by_pixels.get(pixels) for pixels in file.pixels)]
        name = next((name for name in names if name), None)
        if name and name not in exact.values():
            exact[i] = name
    left = [name for name in benchmark.images if name not in exact.values()]
    pairs = sorted(pair for i, file in enumerate(seen) if i not in exact for pair in _similar(i, file, left, benchmark))
    modified: dict[int, tuple[str, str]] = {}
    for _, i, name, orientation in pairs:
        if i not in modified and name not in [taken for taken, _ in modified.values()]:
            modified[i] = name, _difference(seen[i], benchmark.images[name], orientation)
    return exact, modified


def _similar(i: int, file: _Candidate, names: Sequence[str], benchmark: Benchmark) -> list[tuple[int, int, str, int]]:
    """Returns (Hamming distance, i, name, orientation) of the images that a file may have been made from."""
    if file.bits is None or not names:
        return []
    wanted = hash_bits([benchmark.images[name].phash for name in names])
    distances = hash_distances(file.bits, wanted)  # (8, names)
    nearest = distances.argmin(0)
    found = [(int(distances[turn, j]), i, names[j], int(turn)) for j, turn in enumerate(nearest)]
    return [pair for pair in found if pair[0] <= HASH_RADIUS]


def _difference(file: _Candidate, image: BenchmarkImage, orientation: int) -> str:
    (height, width), (own_height, own_width) = image.size, file.size
    sizes = f"from {width}x{height} to {own_width}x{own_height}"
    if multiple := next((image.crops[pixels] for pixels in file.pixels if pixels in image.crops), None):
        return f"cropped to a multiple of {multiple} ({sizes})"
    resized = f"resized {sizes}" if sorted(file.size) != sorted(image.size) else ""
    return (
        ", ".join(what for what in (ORIENTATIONS[orientation], resized) if what)
        or "other pixels: re-encoded or retouched"
    )


def set_findings(recognition: Recognition) -> list[str]:
    """Returns one sentence per kind of difference between a set and its benchmark; none if it is exact."""
    known = load_benchmarks()[recognition.benchmark]
    findings = []
    if recognition.missing:
        n = len(known.names)
        present = f"{n - len(recognition.missing)} of {n} images are there"
        findings.append(f"{known.name} is incomplete: {present}; missing: {enumerated(recognition.missing)}")
    if recognition.modified:
        changes = [f"{file} ({how})" for file, how in recognition.modified.items()]
        findings.append(f"{known.name} was altered: {enumerated(changes)}")
    if recognition.extra:
        only = "" if known.images else " (its images are known by their files only: one saved again counts as such)"
        findings.append(f"{known.name} holds images that are not its own{only}: {enumerated(recognition.extra)}")
    return findings


def _equals(row: tuple[float, float], reference: tuple[float, float]) -> bool:
    return abs(row[0] - reference[0]) <= PSNR_TOLERANCE and abs(row[1] - reference[1]) <= SSIM_TOLERANCE
