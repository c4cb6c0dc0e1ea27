"""Protocol of the metrics besides PSNR and SSIM, and their weights files in torch's hub folder.

Nothing is downloaded here, and weights files are only read as plain data.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from sr_lightning.files import sha256
from sr_lightning.image.color import to_uint8

log = logging.getLogger(__name__)


class QualityMetric(Protocol):
    """A metric of one image. The caller shaves the border; rounding to 8 bits is done here.

    A metric with the attribute `takes_lr = True` is called with the unshaved SR image and with LR in place of HR.
    """

    name: str
    higher_is_better: bool
    protocol: str
    """How the metric is computed, for the results and below tables."""
    smallest: int
    """Minimum side of an image in pixels."""

    def __call__(self, sr: Tensor, hr: Tensor, /) -> float:
        """Evaluates SR and HR, (1, 3, H, W), uint8 or floating point in [0, 1]; NaN if the image is too small.

        Raises:
            ValueError: The shapes are different.
        """


class WeightsMissingError(Exception):
    """Weights are missing or invalid; the message names the file, the problem, and where it belongs."""


def unit_levels(sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    """Returns both images as a saved file would hold them, in [0, 1], float64."""
    if sr.shape != hr.shape or sr.ndim != 4 or sr.shape[:2] != (1, 3):
        raise ValueError(f"expected two (1, 3, H, W), found {tuple(sr.shape)} and {tuple(hr.shape)}")
    a, b = (x if x.dtype == torch.uint8 else to_uint8(x) for x in (sr, hr))
    return a.to(torch.float64) / 255, b.to(torch.float64) / 255


def is_too_small(x: Tensor, metric: QualityMetric) -> bool:
    """Returns whether an image, (1, 3, H, W), is too small for a metric, and logs it."""
    height, width = x.shape[-2:]
    if min(height, width) >= metric.smallest:
        return False
    log.warning(
        "%s: an image of %dx%d is too small (%d pixels are needed) and is left out",
        metric.name,
        width,
        height,
        metric.smallest,
    )
    return True


def network_distance(net: nn.Module, sr: Tensor, hr: Tensor) -> float:
    """Evaluates a network in float32, on the device of the images."""
    with torch.inference_mode(), torch.autocast(sr.device.type, enabled=False):
        return float(net.to(sr.device)(sr.float(), hr.float()))


def find_in_hub(file: tuple[str, str], need: str) -> Path:
    """Returns a file in torch's hub folder after verifying its checksum."""
    name, checksum = file
    path = Path(torch.hub.get_dir(), "checkpoints", name)
    if not path.is_file():
        raise WeightsMissingError(
            f"{need} {name}, which is not in {path.parent}; put the file there (nothing is downloaded)"
        )
    found = sha256(path)
    if not found.startswith(checksum):
        raise WeightsMissingError(
            f"{path}: has the checksum {found[:8]}…, expected {checksum[:8]}…; get the file again"
        )
    return path


def check_plain_data(path: Path) -> None:
    """Refuses weights files that are not plain data, because the library would execute their content."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsMissingError(f"{path}: cannot be read as plain weights: {reason}") from None
