"""Writes `sr_lightning/data/benchmarks/benchmarks.json`: hashes of the benchmarks' images, and results of bicubic.

    SR_DATA=<root> python scripts/maintenance/benchmark_tables.py       # the four classic sets
    python scripts/maintenance/benchmark_tables.py Manga109=<folder>    # adds a benchmark, or replaces its entry

The results are computed with NumPy, Pillow and scikit-image only, without the project's resizing or metrics, so that
they can reveal errors in the project itself. `otherwise` holds results of other kernels and protocols, which explain to
a user why a row differs.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity

from sr_lightning.data.benchmarks.reference import BENCHMARKS
from sr_lightning.data.duplicates.fingerprint import perceptual_hash, pixel_hash, thumbnail
from sr_lightning.image.color import read_rgb

# PSNR and SSIM on Y of MATLAB's bicubic on 8-bit images, measured with an independent implementation.
BICUBIC = {
    "Set5": {2: (33.673, 0.9303), 3: (30.403, 0.8689), 4: (28.429, 0.8111)},
    "Set14": {2: (30.325, 0.8699), 3: (27.631, 0.7759), 4: (26.088, 0.7048)},
    "BSD100": {2: (29.560, 0.8434), 3: (27.208, 0.7394), 4: (25.961, 0.6681)},
    "Urban100": {2: (26.876, 0.8405), 3: (24.458, 0.7352), 4: (23.140, 0.6581)},
}
SCALES = (2, 3, 4)
MULTIPLES = (3, 4, 8, 12, 24)  # multiples to which other distributions crop their images


def cubic(a: float) -> Callable[[np.ndarray], np.ndarray]:
    def kernel(x: np.ndarray) -> np.ndarray:
        x = np.abs(x)
        near, far = (a + 2) * x**3 - (a + 3) * x**2 + 1, a * (x**3 - 5 * x**2 + 8 * x - 4)
        return np.where(x <= 1, near, np.where(x < 2, far, 0))

    return kernel


def linear(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def box(x: np.ndarray) -> np.ndarray:
    return ((x >= -0.5) & (x < 0.5)).astype(float)


def lanczos3(x: np.ndarray) -> np.ndarray:
    return np.sinc(x) * np.sinc(x / 3) * (np.abs(x) < 3)


def imresize(
    x: np.ndarray, factor: float, kernel: Callable, width: float, antialias: bool = True, *, once: bool = False
) -> np.ndarray:
    """MATLAB's imresize for (H, W, …) levels, rounding after each pass, or only `once`, as for doubles."""
    for axis in (0, 1):
        x = np.moveaxis(x, axis, 0)
        n_in, n_out = x.shape[0], int(np.ceil(x.shape[0] * factor))
        shrink = min(factor, 1.0) if antialias else 1.0
        centre = (np.arange(n_out) + 0.5) / factor - 0.5
        taps = int(np.ceil(width / shrink)) + 2
        index = np.floor(centre - width / shrink / 2).astype(int)[:, None] + np.arange(taps)
        weights = kernel((centre[:, None] - index) * shrink)
        weights /= weights.sum(1, keepdims=True)
        period = np.concatenate([np.arange(n_in), np.arange(n_in)[::-1]])
        x = np.moveaxis(np.einsum("ot,ot...->o...", weights, x[period[index % (2 * n_in)]]), 0, axis)
        if axis == 1 or not once:
            x = rounded(x)
    return x


def rounded(x: np.ndarray) -> np.ndarray:
    return np.floor(np.clip(x, 0, 255) + 0.5)


def luma(x: np.ndarray) -> np.ndarray:
    return x @ np.array([65.481, 128.553, 24.966]) / 255 + 16


def row(sr: np.ndarray, hr: np.ndarray, border: int) -> tuple[float, float]:
    """Returns PSNR and SSIM of one plane, or their means over planes."""
    if border:
        sr, hr = (x[border:-border, border:-border] for x in (sr, hr))
    psnr = 10 * np.log10(255**2 / np.mean((sr - hr) ** 2))
    planes = [(sr, hr)] if sr.ndim == 2 else [(sr[..., c], hr[..., c]) for c in range(3)]
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "full": True}
    maps = [structural_similarity(a, b, **settings)[1][5:-5, 5:-5] for a, b in planes]
    return float(psnr), float(np.mean(maps))


def enlarge(lr: np.ndarray, scale: int) -> np.ndarray:
    return imresize(lr, scale, cubic(-0.5), 4)


def pillow(kernel: Image.Resampling) -> Callable[[np.ndarray, int], np.ndarray]:
    def shrink(hr: np.ndarray, scale: int) -> np.ndarray:
        size = (hr.shape[1] // scale, hr.shape[0] // scale)
        return np.asarray(Image.fromarray(hr.astype(np.uint8)).resize(size, kernel), dtype=float)

    return shrink


def matlab(kernel: Callable, width: float) -> Callable[[np.ndarray, int], np.ndarray]:
    return lambda hr, scale: imresize(hr, 1 / scale, kernel, width)


def rounded_once(kernel: Callable, width: float, antialias: bool) -> Callable[[np.ndarray, int], np.ndarray]:
    return lambda hr, scale: imresize(hr, 1 / scale, kernel, width, antialias, once=True)


KERNELS = {
    "LR made by MATLAB's bicubic on doubles (rounded once)": rounded_once(cubic(-0.5), 4, antialias=True),
    "LR made by MATLAB's bilinear": matlab(linear, 2),
    "LR made by averaging blocks (MATLAB's box)": matlab(box, 1),
    "LR made by MATLAB's lanczos3": matlab(lanczos3, 6),
    "LR made by bicubic without antialiasing (a = -0.5)": rounded_once(cubic(-0.5), 4, antialias=False),
    "LR made by bicubic without antialiasing (a = -0.75, as OpenCV and torch)": rounded_once(
        cubic(-0.75), 4, antialias=False
    ),
    "LR made by bilinear without antialiasing (as OpenCV and torch)": rounded_once(linear, 2, antialias=False),
    "LR made by taking the nearest pixel": pillow(Image.Resampling.NEAREST),
    "LR made by taking every n-th pixel from the first": lambda hr, scale: hr[::scale, ::scale],
    "LR made by Pillow's bicubic": pillow(Image.Resampling.BICUBIC),
    "LR made by Pillow's bilinear": pillow(Image.Resampling.BILINEAR),
    "LR made by Pillow's lanczos": pillow(Image.Resampling.LANCZOS),
}


def rows_of_image(hr: np.ndarray, scale: int) -> dict[str, tuple[float, float]]:
    """Returns the results of one image for all kernels and protocols; the first is the reference."""
    hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale].astype(float)
    lr = imresize(hr, 1 / scale, cubic(-0.5), 4)
    sr = enlarge(lr, scale)
    found = {"": row(luma(sr), luma(hr), scale)}
    for name, shrink in KERNELS.items():
        found[name] = row(luma(enlarge(shrink(hr, scale), scale)), luma(hr), scale)
    plane = np.round(luma(hr))
    small = imresize(plane, 1 / scale, cubic(-0.5), 4)
    found["Y rounded before it is resized (the papers' way)"] = row(enlarge(small, scale), plane, scale)
    found["RGB in place of Y"] = row(sr, hr, scale)
    found["no border shaved"] = row(luma(sr), luma(hr), 0)
    found["red and blue swapped"] = row(luma(sr[..., ::-1]), luma(hr[..., ::-1]), scale)
    full = np.array([0.299, 0.587, 0.114])
    found["Y of full range (as OpenCV's YCrCb)"] = row(sr @ full, hr @ full, scale)
    return found


def entry(name: str, folder: Path, bicubic: dict[int, tuple[float, float]]) -> dict[str, dict]:
    """Returns the entry of a benchmark.

    Args:
        name: Name, for messages.
        folder: Folder of its images.
        bicubic: Scale -> reference PSNR and SSIM measured elsewhere; empty to use those measured here.
    """
    images = {path.name: read_rgb(path) for path in sorted(folder.iterdir())}
    found: dict[str, dict] = {"bicubic": dict(bicubic), "otherwise": {}, "pictures": {}}
    for file, rgb in images.items():
        height, width, _ = rgb.shape
        crops = {m: (height // m * m, width // m * m) for m in MULTIPLES}
        found["pictures"][file] = {
            "size": [height, width],
            "pixels": pixel_hash(rgb),
            "phash": perceptual_hash(thumbnail(rgb)),
            "crops": {m: pixel_hash(rgb[:h, :w]) for m, (h, w) in crops.items() if (h, w) != (height, width)},
        }
    for scale in SCALES:
        rows = [rows_of_image(rgb, scale) for rgb in images.values()]
        means = {key: np.mean([r[key] for r in rows], axis=0).round(4).tolist() for key in rows[0]}
        measured = means.pop("")
        stored = found["bicubic"].setdefault(scale, measured)
        print(name, scale, "measured", measured, "stored", stored)
        found["otherwise"][scale] = means
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("added", nargs="*", metavar="NAME=FOLDER", help="instead of the four sets below $SR_DATA")
    document: dict[str, dict] = {}
    if added := dict(argument.split("=", 1) for argument in parser.parse_args().added):
        document = json.loads(BENCHMARKS.read_text(encoding="utf-8"))
        document |= {name: entry(name, Path(folder), BICUBIC.get(name, {})) for name, folder in added.items()}
    for name, bicubic in ({} if added else BICUBIC).items():
        folder = Path(os.environ["SR_DATA"], "test", name)
        # Without its images, it is recognised only by the checksums in downloads.json.
        known = {"bicubic": bicubic, "otherwise": {}, "pictures": {}}
        document[name] = entry(name, folder, bicubic) if folder.is_dir() else known
    BENCHMARKS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
