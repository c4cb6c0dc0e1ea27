"""The protocol of metrics beside PSNR and SSIM, and their weights files in torch's hub folder.

Nothing is ever downloaded here, and a weights file is read as plain data or not at all.
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
    """A figure for one image. The caller shaves; rounding to 8 bit is done here.

    One with the attribute `takes_lr = True` is called with SR, not shaved, and the LR image in place of HR.
    """

    name: str
    higher_is_better: bool
    protocol: str
    """What the figure is made of, for the results and beneath a table."""
    smallest: int
    """Pixels that each side must have."""

    def __call__(self, sr: Tensor, hr: Tensor, /) -> float:
        """(1, 3, H, W) twice, uint8 or floating point in [0, 1] -> the figure; NaN for an image that is too small.

        Raises:
            ValueError: Other shapes.
        """


class WeightsMissingError(Exception):
    """The text says which file is missing, or what is wrong with it, and where it belongs."""


def unit_levels(sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    """Both as a saved file would hold them, in [0, 1], float64."""
    if sr.shape != hr.shape or sr.ndim != 4 or sr.shape[:2] != (1, 3):
        raise ValueError(f"expected two (1, 3, H, W), found {tuple(sr.shape)} and {tuple(hr.shape)}")
    a, b = (x if x.dtype == torch.uint8 else to_uint8(x) for x in (sr, hr))
    return a.to(torch.float64) / 255, b.to(torch.float64) / 255


def is_too_small(x: Tensor, metric: QualityMetric) -> bool:
    """Whether a metric has no figure for an image, (1, 3, H, W); says so in the log."""
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
    """In float32, where the images lie."""
    with torch.inference_mode(), torch.autocast(sr.device.type, enabled=False):
        return float(net.to(sr.device)(sr.float(), hr.float()))


def find_in_hub(file: tuple[str, str], need: str) -> Path:
    """The file in torch's hub folder, with the content that it should have."""
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
    """The library would execute what is in the file; it gets only what is known to be plain data."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsMissingError(f"{path}: cannot be read as plain weights: {reason}") from None
