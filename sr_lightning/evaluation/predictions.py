"""Predictions of a method on the test images: computed, timed, saved."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sr_lightning.data.batch import EvalBatch, NoImage
from sr_lightning.data.datasets import EvalImages
from sr_lightning.data.degradations.base import Degradation, to_eval_batch
from sr_lightning.distributed.process_group import Place
from sr_lightning.evaluation.method import Method
from sr_lightning.image.color import to_uint8, write_png


@dataclass(frozen=True)
class Prediction:
    """SR image made by one method from one LR image."""

    batch: EvalBatch
    """The LR image and its ground truth."""
    image: Tensor | None
    """(1, 3, h·s, w·s) uint8, as in a saved PNG; None if the output contains NaN or infinity."""
    seconds: float | None
    """Inference time; None for images made by another program."""


def predict(method: Method, images: EvalImages, degrade: Degradation, place: Place) -> Iterator[Prediction]:
    """Runs a method on this process's share of the test images.

    Args:
        method: The method; images at scales that it does not support are skipped.
        images: The test images.
        degrade: Degradation that makes those LR images that are not ready-made.
        place: This process and its device.
    """
    for index in images.share(place.rank, place.world_size):
        image = images[index]
        if isinstance(image, NoImage) or (method.scales and image.scale not in method.scales):
            continue
        lr = None if image.lr is None else image.lr.to(place.device)
        batch = to_eval_batch(image._replace(hr=image.hr.to(place.device), lr=lr), degrade)
        sr, seconds = measure_time(lambda batch=batch: method.predict(batch))  # type: ignore[misc]  # binds this batch
        yield Prediction(batch, quantised(sr), seconds if method.is_timed else None)


def quantised(sr: Tensor) -> Tensor | None:
    """Returns the 8-bit image that a saved PNG would hold; None if the output contains NaN or infinity.

    Once rounded to levels, a non-finite output would look like an image.
    """
    if not sr.isfinite().all():
        return None
    return sr if sr.dtype == torch.uint8 else to_uint8(sr)


def measure_time(enlarge: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """Returns the result of a call and its duration in seconds, including pending GPU work."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch gives it no types
        torch.cuda.synchronize()  # what was queued before, such as the degradation, is not part of it
    start = time.perf_counter()
    enlarged = enlarge()
    if enlarged.is_cuda:
        torch.cuda.synchronize(enlarged.device)
    return enlarged, time.perf_counter() - start


def save_predictions(predictions: Iterable[Prediction], folder: Path, images: EvalImages) -> Iterator[Prediction]:
    """Writes each image as `<folder>/<set>/x<scale>/<name>.png`, and passes the prediction on.

    Args:
        predictions: Predictions of one method.
        folder: The method's folder.
        images: All test images, which determine the names; see `image_names`.
    """
    names = image_names(images)
    for prediction in predictions:
        batch = prediction.batch
        if prediction.image is not None:
            target = folder / batch.set / f"x{batch.scale}"
            target.mkdir(parents=True, exist_ok=True)
            pixels = prediction.image[0].permute(1, 2, 0).cpu().numpy()  # (3, H, W) -> (H, W, 3)
            write_png(target / f"{names[batch.set, batch.key]}.png", pixels)
        yield prediction


def image_names(images: EvalImages) -> dict[tuple[str, int], str]:
    """Maps (set, index in the set) -> name without suffix, followed by the index if names repeat."""
    names = {(found.name, i): found.hr.paths[i].stem for found, _, i in images.items}
    while repeated := _repeated(names):  # an appended index may produce the name of another file
        names |= {key: f"{names[key]}_{key[1]}" for key in repeated}
    return names


def _repeated(names: Mapping[tuple[str, int], str]) -> list[tuple[str, int]]:
    counts = Counter((name, stem) for (name, _), stem in names.items())
    return [(name, i) for (name, i), stem in names.items() if counts[name, stem] > 1]
