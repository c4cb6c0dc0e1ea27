"""Reference data of the benchmarks: image hashes, bicubic results, published results.

`scripts/maintenance/benchmark_tables.py` writes `benchmarks.json`; checksums of downloadable files come from
`downloads.json`. No benchmark pixels are stored.
"""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sr_lightning.data.download import DOWNLOADS

BENCHMARKS = Path(__file__).parent / "benchmarks.json"
_PUBLISHED = Path(__file__).parent / "published.tsv"


@dataclass(frozen=True)
class BenchmarkImage:
    """Hashes of one image of a benchmark."""

    size: tuple[int, int]
    """(H, W)."""
    pixels: str
    """Pixel hash (`fingerprint.pixel_hash`)."""
    phash: str
    """Perceptual hash (`fingerprint.perceptual_hash`), in hexadecimal digits."""
    crops: Mapping[str, int]
    """Pixel hash of the image cropped to a multiple of n -> n."""


@dataclass(frozen=True)
class Benchmark:
    """Reference data of one benchmark."""

    name: str
    files: Mapping[str, str]
    """SHA-256 of each file -> its name."""
    images: Mapping[str, BenchmarkImage]
    """Name -> image; empty if only the file checksums are known."""
    bicubic: Mapping[int, tuple[float, float]]
    """Scale -> PSNR in dB and SSIM of MATLAB's bicubic interpolation, on Y."""
    other_rows: Mapping[int, Mapping[str, tuple[float, float]]]
    """Scale -> description of another kernel or protocol -> its PSNR and SSIM."""

    @property
    def names(self) -> list[str]:
        """Names of the benchmark's images."""
        return list(self.images or self.files.values())


@dataclass(frozen=True)
class PublishedRow:
    """Published results of one method on one benchmark at one scale."""

    method: str
    params: str
    """Number of parameters as given by the source, e.g. `665K`."""
    training: str
    """Training set, e.g. `291` or `DIV2K`."""
    psnr: float
    ssim: float | None
    source: str
    """The method's paper, and where the figures were read: mostly in others' tables."""


@functools.cache
def load_benchmarks() -> dict[str, Benchmark]:
    """Returns all benchmarks by name; each needs only an entry of `benchmarks.json`."""
    downloads = json.loads(DOWNLOADS.read_text(encoding="utf-8"))
    table = json.loads(BENCHMARKS.read_text(encoding="utf-8"))
    return {
        name: Benchmark(
            name,
            files={digest: file for file, (digest, _) in downloads.get(name, {"files": {}})["files"].items()},
            images={
                file: BenchmarkImage(
                    size=(image["size"][0], image["size"][1]),
                    pixels=image["pixels"],
                    phash=image["phash"],
                    crops={digest: int(multiple) for multiple, digest in image["crops"].items()},
                )
                for file, image in entry["pictures"].items()
            },
            bicubic={int(scale): (row[0], row[1]) for scale, row in entry["bicubic"].items()},
            other_rows={
                int(scale): {what: (row[0], row[1]) for what, row in rows.items()}
                for scale, rows in entry["otherwise"].items()
            },
        )
        for name, entry in table.items()
    }


def reference_bicubic(benchmark: str, scale: int) -> tuple[float, float] | None:
    """Returns PSNR (dB) and SSIM on Y of MATLAB's bicubic interpolation; None if no reference is stored."""
    known = load_benchmarks().get(benchmark)
    return known.bicubic.get(scale) if known else None


def published_rows(benchmark: str, scale: int) -> list[PublishedRow]:
    """Returns published results on a benchmark, oldest first; the training set `291` is T91 + BSD200."""
    with _PUBLISHED.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["scale"] == str(scale)]
    found = []
    for row in rows:
        if (figures := row.get(benchmark, "-")) == "-":
            continue
        psnr, _, ssim = figures.partition("/")
        found.append(
            PublishedRow(
                row["method"],
                row["params"],
                row["training"],
                float(psnr),
                None if ssim == "-" else float(ssim),
                row["source"] if row["paper"] == "-" else f"{row['paper']}; figures read in: {row['source']}",
            )
        )
    return found
