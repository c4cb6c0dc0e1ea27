"""What is known of the benchmarks: their images, the rows that bicubic gives on them, and published rows.

<<<<<<< HEAD
`scripts/maintenance/benchmark_tables.py` makes `benchmarks.json`; the hashes of the files come from
`downloads.json`. No pixel of a benchmark is stored.
=======
`scripts/maintenance/benchmark_tables.py` makes `benchmarks.json`; the hashes of the files come from `downloads.json`.
No pixel of a benchmark is stored.
>>>>>>> df109cbd047df8fe4e3a3a9481f4851fb2c700c0
"""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TABLES = Path(__file__).parent


@dataclass(frozen=True)
class KnownImage:
    """An image of a benchmark."""

    size: tuple[int, int]
    """(H, W)."""
    pixels: str
    """`hashes.pixel_hash`."""
    phash: str
    """`hashes.perceptual_hash`, in hexadecimal digits."""
    crops: Mapping[str, int]
    """Pixel hashes of what is left when it is cropped to a multiple -> that multiple."""


@dataclass(frozen=True)
class Benchmark:
    """What is known of one benchmark."""

    name: str
    files: Mapping[str, str]
    """SHA-256 of each file -> its name."""
    images: Mapping[str, KnownImage]
    """Name -> image; empty where only the files are known."""
    bicubic: Mapping[int, tuple[float, float]]
    """Scale -> PSNR in dB and SSIM of MATLAB's bicubic on Y."""
    otherwise: Mapping[int, Mapping[str, tuple[float, float]]]
    """Scale -> what another kernel or protocol gives."""


@dataclass(frozen=True)
class PublishedRow:
    """One method's figures on one benchmark at one scale, as published."""

    method: str
    params: str
    """As the source gives them, e.g. `665K`."""
    training: str
    """Training set, e.g. `291` or `DIV2K`."""
    psnr: float
    ssim: float | None
    source: str


@functools.cache
def known_benchmarks() -> dict[str, Benchmark]:
    """All benchmarks of which something is known."""
    downloads = json.loads((_TABLES.parent / "download" / "downloads.json").read_text(encoding="utf-8"))
    table = json.loads((_TABLES / "benchmarks.json").read_text(encoding="utf-8"))
    return {
        name: Benchmark(
            name,
            files={digest: file for file, (digest, _) in downloads[name]["files"].items()},
            images={
                file: KnownImage(
                    size=(image["size"][0], image["size"][1]),
                    pixels=image["pixels"],
                    phash=image["phash"],
                    crops={digest: int(multiple) for multiple, digest in image["crops"].items()},
                )
                for file, image in entry["pictures"].items()
            },
            bicubic={int(scale): (row[0], row[1]) for scale, row in entry["bicubic"].items()},
            otherwise={
                int(scale): {what: (row[0], row[1]) for what, row in rows.items()}
                for scale, rows in entry["otherwise"].items()
            },
        )
        for name, entry in table.items()
    }


def reference_bicubic(benchmark: str, scale: int) -> tuple[float, float] | None:
    """PSNR (dB) and SSIM on Y of MATLAB's bicubic, or None where they are not known."""
    known = known_benchmarks().get(benchmark)
    return known.bicubic.get(scale) if known else None


def published(benchmark: str, scale: int) -> list[PublishedRow]:
    """Published rows, in the order of their age; a training set of `291` is T91 + BSD200."""
    with (_TABLES / "published.tsv").open(encoding="utf-8", newline="") as file:
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
                row["source"],
            )
        )
    return found
