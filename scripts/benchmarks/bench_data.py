"""Speed of loading training patches and cost of workers, compared with decoding a file for each patch.

    python scripts/benchmarks/bench_data.py                     # photographs that come with scikit-image
    python scripts/benchmarks/bench_data.py --images DIV2K_train_HR --out data.json
    python scripts/benchmarks/bench_data.py sizes workers --quick

All methods produce the same batches of 16 (same images, crops, flips and rotations). Ours copies windows from the
decoded store, and from LR images that were generated once; the others decode a file for each patch in a DataLoader,
with Pillow or (if importable) OpenCV, and generate LR from each window.

    patches    patches per second and core: uint8 windows, then LR and HR as floats (also ours with LR generated from
               each window, as needed for random degradations); with ready-made LR, compared with BasicSR's own
               dataset if `basicsr` is importable; without workers and with two
    sizes      the same as a function of image size: 0.15, 3 and 12 megapixels, synthetic
    images     the same as a function of the number of images, 10 to 10,000 small ones, synthetic; and the time to
               build a store
    workers    memory per worker, in addition to that of an idle one

Rates per core are per second of processor time, summed over the process and its workers.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import benchmarking
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from sr_lightning.data.batch import TrainBatch, TrainWindows
from sr_lightning.data.cache.lr_images import cached_lr
from sr_lightning.data.cache.store import ImageStore
from sr_lightning.data.datasets import TrainSamples
from sr_lightning.data.degradations.base import Downscale, to_train_batch
from sr_lightning.data.files import find_images
from sr_lightning.data.images import Images
from sr_lightning.data.sampling.crops import CropPlan, window
from sr_lightning.data.sampling.loader import TimedLoader, as_it_is
from sr_lightning.data.sampling.sampler import BatchSampler
from sr_lightning.image.color import write_png
from sr_lightning.image.resize import resize

Array = NDArray[np.uint8]
Decode = Callable[[Path], Array]
SECTIONS = ("patches", "sizes", "images", "workers")
SCALE, BATCH, SEED = 4, 16, 1
UNIT = "patches/s and core"
DEGRADE = Downscale()


def pillow(path: Path) -> Array:
    """Decodes a file to (H, W, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def opencv(path: Path) -> Array:
    """Decodes a file to (H, W, 3)."""
    import cv2

    return np.ascontiguousarray(cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1])


def decoders() -> dict[str, Decode]:
    """Returns the available decoders by name."""
    return {"Pillow": pillow} | ({"OpenCV": opencv} if benchmarking.optional("cv2") else {})


@dataclass(frozen=True)
class Files:
    """Images from which patches are cropped."""

    hr: Sequence[Path]
    cache: Path
    lr: Sequence[Path] | None = None
    """Ready-made LR images, one per HR image."""
    patch: int = 24
    batch: int = BATCH

    def samples(self, *, of_windows: bool = False) -> TrainSamples:
        """Returns our dataset, optionally generating LR from each window."""
        lr = None if self.lr is None else {SCALE: ImageStore(self.lr, self.cache)}
        images = Images("train", ImageStore(self.hr, self.cache), lr)
        once = {} if of_windows else cached_lr(images, [SCALE], DEGRADE)
        return TrainSamples(images, patch_size=self.patch, seed=SEED, augment=True, degrade=DEGRADE, cached_lr=once)

    def loader(self, workers: int, *, of_windows: bool = False) -> TimedLoader:
        """Returns our data loader."""
        asked = BatchSampler(
            start_k=0, batch_size=self.batch, accumulate=1, rank=0, world_size=1, seed=SEED, scales=[SCALE]
        )
        samples = self.samples(of_windows=of_windows)
        return TimedLoader(samples, sampler=asked, batch_size=None, collate_fn=as_it_is, num_workers=workers)


class DecodedPatches(Dataset[tuple[Tensor, Tensor, int, int]]):
    """Decodes files for each sample k, yielding HR window, LR patch (empty if generated later), orientation and k."""

    def __init__(self, files: Files, plan: CropPlan, decode: Decode) -> None:
        self.files = files
        self.plan = plan
        self.decode = decode

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor, int, int]:
        crop, p = self.plan.crop(k, SCALE), self.files.patch
        m = 0 if self.files.lr else DEGRADE.margin(SCALE)
        hr = self.decode(self.files.hr[crop.image])
        hr = hr[: hr.shape[0] // SCALE * SCALE, : hr.shape[1] // SCALE * SCALE]
        side = (p + 2 * m) * SCALE
        hr = window(hr, (crop.top - m) * SCALE, (crop.left - m) * SCALE, side, side)
        lr = torch.empty(0, dtype=torch.uint8)
        if self.files.lr:
            lr = _chw(window(self.decode(self.files.lr[crop.image]), crop.top, crop.left, p, p))
        return _chw(hr), lr, crop.dihedral, k


def _chw(pixels: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def decoded(files: Files, sizes: Sequence[tuple[int, int]], decode: Decode, workers: int) -> Iterator[TrainWindows]:
    """Yields batches of `DecodedPatches`."""
    plan = CropPlan(sizes, patch_size=files.patch, seed=SEED)
    loader = DataLoader(
        DecodedPatches(files, plan, decode),
        batch_size=files.batch,
        sampler=itertools.count(),
        num_workers=workers,  # type: ignore[arg-type]  # as given by the caller
    )
    for hr, lr, turns, keys in loader:
        has_lr = files.lr is not None
        yield TrainWindows(
            hr, lr if has_lr else None, SCALE, tuple(turns.tolist()), tuple(keys.tolist()), int(keys[-1]) + 1
        )


def basicsr_batches(files: Files, workers: int) -> Iterator[Any]:
    """Yields batches of BasicSR's paired dataset: float tensors, cropped, augmented and collated."""
    made = benchmarking.optional("basicsr.data.paired_image_dataset")
    assert made is not None
    assert files.lr is not None
    settings = {
        "dataroot_gt": str(files.hr[0].parent),
        "dataroot_lq": str(files.lr[0].parent),
        "io_backend": {"type": "disk"},
        "scale": SCALE,
        "phase": "train",
        "gt_size": files.patch * SCALE,
        "use_hflip": True,
        "use_rot": True,
    }
    dataset = made.PairedImageDataset(settings)
    endless = RandomSampler(dataset, replacement=True, num_samples=1 << 30)
    yield from DataLoader(dataset, batch_size=BATCH, sampler=endless, num_workers=workers)


def to_floats(windows: TrainWindows) -> TrainBatch:
    """Converts windows to the input of the network."""
    return to_train_batch(windows, DEGRADE)


def rate(
    batches: Callable[[], Iterator[Any]], seconds: float, workers: int, then: Callable[[Any], Any] | None = None
) -> float:
    """Returns patches per second of processor time, once the workers' prefetch queues are full."""
    with contextlib.closing(batches()) as source:  # type: ignore[type-var]  # all are generators
        for batch in itertools.islice(source, 1 + 3 * workers):
            _ = then and then(batch)
        started, spent, n = time.perf_counter(), benchmarking.cpu_seconds(), 0
        while n < 1 or time.perf_counter() - started < seconds:
            batch = next(source)
            _ = then and then(batch)
            n += 1
        return n * BATCH / max(benchmarking.cpu_seconds() - spent, 1e-9)


def compare(
    report: benchmarking.Report,
    section: str,
    case: str,
    files: Files,
    given: argparse.Namespace,
    *,
    workers: int = 0,
    then: Callable[[Any], Any] | None = None,
) -> None:
    """Adds the rows of one case: ours, and one per decoder."""
    sizes = files.samples().images.hr.sizes
    contenders: dict[str, Callable[[], Iterator[Any]]] = {"ours": lambda: iter(files.loader(workers))}
    for name, decode in decoders().items():
        contenders[name] = functools.partial(decoded, files, sizes, decode, workers)
    if then is not None:
        contenders["ours, of windows"] = lambda: iter(files.loader(workers, of_windows=True))
    report.note(agreement(contenders))
    if files.lr is not None and benchmarking.optional("basicsr.data.paired_image_dataset"):
        contenders["BasicSR"] = lambda: basicsr_batches(files, workers)
    seconds = 0.1 if given.quick else 0.7
    runs = {name: functools.partial(rate, make, seconds, workers, then) for name, make in contenders.items()}
    found = benchmarking.take_turns(runs, given.rounds)
    report.add(section, [benchmarking.Row(case, name, UNIT, values) for name, values in found.items()])


def agreement(contenders: dict[str, Callable[[], Iterator[TrainWindows]]]) -> str:
    """Describes whether the first batches of all methods equal ours.

    Raises:
        AssertionError: A batch differs, other than OpenCV's (our store decodes with Pillow).
    """
    firsts = {}
    for name, make in contenders.items():
        with contextlib.closing(make()) as source:  # type: ignore[type-var]  # all are generators
            firsts[name] = to_floats(next(source))
    ours, said = firsts.pop("ours"), []
    for name, other in firsts.items():
        difference = max(float((a - b).abs().max()) * 255 for a, b in ((ours.lr, other.lr), (ours.hr, other.hr)))
        assert difference == 0 or name == "OpenCV", f"{name}: patches differ from ours by {difference} levels"
        said.append(f"{name}'s {'are equal' if not difference else f'differ by up to {difference:.0f} levels (JPEG)'}")
    return f"First batches beside ours: {', '.join(said)}."


# -- sections ------------------------------------------------------------------------------------------


def patches(report: benchmarking.Report, given: argparse.Namespace, folder: Path) -> None:
    """Measures the given images."""
    hr = chosen_images(given)
    files = Files(hr, folder / "cache")
    pairs = Files(*pair_folders(hr[: 3 if given.quick else 50], folder))
    for workers in given.workers:
        how = f"{workers} workers"
        compare(report, "patches", f"windows, {how}", files, given, workers=workers)
        compare(report, "patches", f"LR and HR as floats, {how}", files, given, workers=workers, then=to_floats)
        compare(report, "patches", f"ready-made LR, {how}", pairs, given, workers=workers)
    if not benchmarking.optional("basicsr.data.paired_image_dataset"):
        report.note("BasicSR's dataset: not installed.")


def chosen_images(given: argparse.Namespace) -> list[Path]:
    """Returns the images of the given folder, or scikit-image's photographs."""
    if given.images is not None:
        return find_images(given.images)
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    names = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
    return [folder / name for name in names]


def pair_folders(hr: Sequence[Path], folder: Path) -> tuple[list[Path], Path, list[Path]]:
    """Writes paired PNG files: HR cropped to a multiple of the scale, and its LR."""
    made: dict[str, list[Path]] = {"hr": [], "lr": []}
    for side in made:
        (folder / side).mkdir()
    for number, path in enumerate(hr):
        image = pillow(path)
        image = image[: image.shape[0] // SCALE * SCALE, : image.shape[1] // SCALE * SCALE]
        small = resize(torch.from_numpy(image.transpose(2, 0, 1).copy()), Fraction(1, SCALE))
        for side, pixels in (("hr", image), ("lr", small.permute(1, 2, 0).contiguous().numpy())):
            made[side].append(folder / side / f"{number:04}.png")
            write_png(made[side][-1], pixels)
    return made["hr"], folder / "cache", made["lr"]


def synthetic(folder: Path, n: int, height: int, width: int, ending: str) -> list[Path]:
    """Writes images of waves with a little noise, which do not compress well."""
    folder.mkdir()
    draw, paths = np.random.default_rng(0), []
    y, x = np.mgrid[:height, :width]
    base = 128 + 60 * np.sin(x / 9) + 50 * np.cos(y / 13)
    for number in range(n):
        image = base[..., None] + draw.integers(-12, 12, (height, width, 1)) + 10 * np.arange(3) + number % 40
        paths.append(folder / f"{number:05}.{ending}")
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(paths[-1])
    return paths


def sizes(report: benchmarking.Report, given: argparse.Namespace, folder: Path) -> None:
    """Measures as a function of image size."""
    sides = {"0.15 MP": (321, 481), "3 MP": (1536, 2048), "12 MP": (3072, 4096)}
    given = argparse.Namespace(**vars(given) | {"rounds": min(given.rounds, 3)})  # a batch of 12 MP takes seconds
    for name, (height, width) in list(sides.items())[: 2 if given.quick else 3]:
        paths = synthetic(folder / name, 2, height, width, "jpg")
        compare(report, "sizes", f"{name}, JPEG", Files(paths, folder / "cache"), given)


def images(report: benchmarking.Report, given: argparse.Namespace, folder: Path) -> None:
    """Measures as a function of the number of images."""
    for n in (10, 100) if given.quick else (10, 100, 1_000, 10_000):
        paths = synthetic(folder / f"{n} images", n, 128, 128, "png")
        files = Files(paths, folder / "cache")
        times = []
        for _ in range(2):
            started = time.perf_counter()
            ImageStore(paths, folder / "cache")
            times.append(time.perf_counter() - started)
        compare(report, "images", f"{n:,}", files, given)
        stores = zip(("store, made", "store, found"), times, strict=True)
        report.sections["images"] += [benchmarking.Row(f"{n:,}", name, "s", [value]) for name, value in stores]


class Nothing(Dataset[Tensor]):
    """Dataset that loads nothing, to measure the cost of an idle worker."""

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, index: int) -> Tensor:
        return torch.zeros(1)


def workers(report: benchmarking.Report, given: argparse.Namespace, folder: Path) -> None:
    """Measures unshared memory per worker, and that of all processes together (shared pages counted once)."""
    hr = chosen_images(given)
    files = Files(hr, folder / "cache")
    plan = [files.samples().images.hr.sizes, pillow]
    contenders: dict[str, Callable[[int], Iterator[Any]]] = {
        "ours": lambda n: iter(files.loader(n)),
        "Pillow": lambda n: decoded(files, *plan, n),  # type: ignore[arg-type]  # as given by the caller
        "nothing": lambda n: (batch for batch in DataLoader(Nothing(), batch_size=BATCH, num_workers=n)),
    }
    runs = {name: functools.partial(memory, make) for name, make in contenders.items()}
    found = benchmarking.take_turns(runs, given.rounds)
    for case in ("own memory of a worker", "each worker more, all processes"):
        values = {name: [one[case] for one in of] for name, of in found.items()}
        rows = [benchmarking.Row(case, name, "MB", of, False) for name, of in values.items()]
        report.sections.setdefault("workers", []).extend(rows)
        ours, _, nothing = (statistics.median(row.values) for row in rows)
        report.note(f"Workers, {case}: ours {ours - nothing:.1f} MB beyond one that loads nothing.")


def memory(make: Callable[[int], Iterator[Any]]) -> dict[str, float]:
    """Returns memory in megabytes."""
    own: list[float] = []
    together = {}
    for n in (1, 3):
        with contextlib.closing(make(n)) as source:  # type: ignore[type-var]  # all are generators
            for _ in itertools.islice(source, 8 * n):
                pass
            found = [_memory_of(pid) for pid in benchmarking.processes()]
            together[n] = sum(shared for _, shared in found)
            own += [private for private, _ in found[1:]]
    return {
        "own memory of a worker": statistics.median(own),
        "each worker more, all processes": (together[3] - together[1]) / 2,
    }


def _memory_of(pid: int) -> tuple[float, float]:
    """Returns a process's private dirty memory and its proportional set size (PSS), in megabytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1000 for line in lines if line.endswith("kB")}
    return sizes["Private_Dirty"], sizes["Pss"]


def main(argv: Sequence[str] | None = None) -> int:
    parser = benchmarking.parser(__doc__, SECTIONS)
    parser.add_argument("--images", type=Path, default=None, help="folder of HR images; scikit-image's")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="in the section patches")
    given = benchmarking.parsed(parser, SECTIONS, argv)
    report = benchmarking.Report()
    warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
    run = {"patches": patches, "sizes": sizes, "images": images, "workers": workers}
    for name in given.sections:
        with tempfile.TemporaryDirectory() as folder:
            run[name](report, given, Path(folder))
    if "OpenCV" not in decoders():
        report.note("OpenCV: not installed.")
    benchmarking.finish(report, torch.device("cpu"), given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
