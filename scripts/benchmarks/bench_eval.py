"""Time to compute PSNR and SSIM on Y for a set, compared with scikit-image and BasicSR at equal results.

    SR_DATA=<root> python scripts/benchmarks/bench_eval.py   # Set14; without it, photographs of scikit-image
    python scripts/benchmarks/bench_eval.py --images Urban100 --scale 2 --out eval.json

The network's float output for each image is on the device; each method rounds it to 8 bits and computes both metrics
per image. The benchmark fails if results differ (by more than 1e-3 dB or 1e-4), as a wrong result is not a fast one.

    metrics     seconds for all images; for BasicSR, `tensor2img` and metrics of its validation loop, if `basicsr` is
                importable
    validation  seconds for our whole validation (LR generation, network, metrics), and the share of each part
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import benchmarking
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sr_lightning.data.batch import EvalBatch
from sr_lightning.data.cache.store import ImageStore
from sr_lightning.data.datasets import EvalImages
from sr_lightning.data.degradations.base import Downscale, to_eval_batch
from sr_lightning.data.files import find_images
from sr_lightning.data.images import Images
from sr_lightning.evaluation.evaluator import score_output
from sr_lightning.evaluation.scores import MethodId
from sr_lightning.inference.predict import bicubic, super_resolve
from sr_lightning.models import EDSR

SECTIONS = ("metrics", "validation")
Scores = list[tuple[float, float]]
"""PSNR in dB and SSIM of each image."""


def chosen_images(given: argparse.Namespace) -> list[Path]:
    """Returns the images of the given folder, Set14, or scikit-image's photographs."""
    set14 = Path(os.environ.get("SR_DATA", "data"), "test", "Set14")
    if given.images or set14.is_dir():
        paths = find_images(given.images or set14)
        return paths[:3] if given.quick else paths
    import skimage

    names = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png")
    return [Path(skimage.__file__).parent / "data" / name for name in names]


def ours(pairs: Sequence[tuple[Tensor, EvalBatch]]) -> Scores:
    """Computes scores as in validation, test and evaluation."""
    found = [score_output(sr, batch, method=MethodId(""), seconds=0) for sr, batch in pairs]
    return [(one.psnr_y, one.ssim_y) for one in found]


def scikit_image(pairs: Sequence[tuple[Tensor, EvalBatch]]) -> Scores:
    """Computes scores with plain NumPy and scikit-image."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    found = []
    for sr, batch in pairs:
        levels = np.floor(sr[0].clamp(0, 1).cpu().numpy().astype(np.float64) * 255 + 0.5)
        a, b = (_luma(image, batch.scale) for image in (levels, batch.hr[0].cpu().numpy()))
        psnr = peak_signal_noise_ratio(b, a, data_range=255)
        settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
        found.append((float(psnr), float(structural_similarity(b, a, **settings))))
    return found


def _luma(levels: NDArray[np.generic], border: int) -> NDArray[np.float64]:
    """Converts (3, H, W) in [0, 255] to Y, with the border shaved off."""
    y = np.tensordot([65.481, 128.553, 24.966], levels.astype(np.float64) / 255, 1) + 16
    return y[border:-border, border:-border]


def basicsr(pairs: Sequence[tuple[Tensor, EvalBatch]]) -> Scores:
    """Computes scores with the steps of BasicSR's own validation loop."""
    from basicsr.metrics import calculate_psnr, calculate_ssim
    from basicsr.utils import tensor2img

    found = []
    for sr, batch in pairs:
        a, b = tensor2img([sr]), tensor2img([batch.hr.to(torch.float32) / 255])
        settings = {"crop_border": batch.scale, "test_y_channel": True}
        found.append((float(calculate_psnr(a, b, **settings)), float(calculate_ssim(a, b, **settings))))
    return found


def check_equal(name: str, found: Scores, expected: Scores) -> None:
    """Raises AssertionError if a result differs from ours."""
    for (psnr, ssim), (our_psnr, our_ssim) in zip(found, expected, strict=True):
        assert abs(psnr - our_psnr) < 1e-3, f"{name}: {psnr} dB, ours {our_psnr}"
        assert abs(ssim - our_ssim) < 1e-4, f"{name}: SSIM {ssim}, ours {our_ssim}"


def metrics(report: benchmarking.Report, given: argparse.Namespace, sets: EvalImages, device: torch.device) -> None:
    """Measures the metrics on bicubically upscaled images, in floating point like a network's output."""
    pairs = []
    for batch in _batches(sets, device):
        pairs.append((bicubic(batch.lr, batch.scale).to(torch.float32) / 255 + 1e-4, batch))
    methods: dict[str, Callable[[Sequence[tuple[Tensor, EvalBatch]]], Scores]] = {
        "ours": ours,
        "scikit-image": scikit_image,
    }
    if benchmarking.optional("basicsr.metrics"):
        methods["BasicSR"] = basicsr
    else:
        report.note("BasicSR's metrics: not installed.")
    scores = {name: method(pairs) for name, method in methods.items()}  # first calls, not timed
    for name, found in scores.items():
        check_equal(name, found, scores["ours"])
    runs = {name: functools.partial(_seconds, functools.partial(method, pairs)) for name, method in methods.items()}
    case = f"{len(pairs)} images, x{given.scale}, PSNR and SSIM"
    found_seconds = benchmarking.take_turns(runs, given.rounds)
    rows = [benchmarking.Row(case, name, "s", values, False) for name, values in found_seconds.items()]
    report.add("metrics", rows)
    report.note(f"All figures are equal to ours within 1e-3 dB and 1e-4; the first: {scores['ours'][0]}.")


def validation(report: benchmarking.Report, given: argparse.Namespace, sets: EvalImages, device: torch.device) -> None:
    """Measures validation of the default network, step by step."""
    torch.manual_seed(0)
    net = EDSR(given.scale, n_feats=16, n_resblocks=4, upsampler="pixelshuffle_direct", global_skip="bicubic")
    net = net.to(device, memory_format=torch.channels_last).eval()
    batches = list(_batches(sets, device))
    with torch.inference_mode():
        outputs = [super_resolve(net, batch.lr, batch.scale) for batch in batches]
        runs: dict[str, Callable[[], object]] = {
            "LR made": lambda: list(_batches(sets, device)),
            "edsr_tiny": lambda: [super_resolve(net, batch.lr, batch.scale) for batch in batches],
            "metrics": lambda: ours(list(zip(outputs, batches, strict=True))),
        }
        timed = {name: functools.partial(_seconds, run) for name, run in runs.items()}
        found = benchmarking.take_turns(timed, given.rounds)
    whole = [sum(values) for values in zip(*found.values(), strict=True)]
    case = f"{len(batches)} images, x{given.scale}"
    rows = [benchmarking.Row(case, name, "s", values, False) for name, values in {"whole": whole, **found}.items()]
    report.sections.setdefault("validation", []).extend(rows)


def _batches(sets: EvalImages, device: torch.device) -> list[EvalBatch]:
    found = []
    for index in range(len(sets)):
        image = sets[index]
        # There are no placeholders for other ranks here, which the type allows.
        found.append(to_eval_batch(image._replace(hr=image.hr.to(device)), Downscale()))  # type: ignore[union-attr,call-arg,arg-type]  # an image it is
    return found


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main(argv: Sequence[str] | None = None) -> int:
    parser = benchmarking.parser(__doc__, SECTIONS)
    parser.add_argument("--images", type=Path, default=None, help="folder of HR images; Set14, else scikit-image's")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = benchmarking.parsed(parser, SECTIONS, argv)
    report, device = benchmarking.Report(), torch.device(given.device)
    with tempfile.TemporaryDirectory() as folder:
        images = Images("set", ImageStore(chosen_images(given), folder))
        sets = EvalImages([images], [given.scale])
        for name in given.sections:
            {"metrics": metrics, "validation": validation}[name](report, given, sets, device)
        benchmarking.finish(report, device, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
