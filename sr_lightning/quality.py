"""Metrics beside PSNR and SSIM. Where the weights of one are not at hand, the reason stands in its place.

Nothing is ever downloaded here, and a weights file is read as plain data or not at all.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from sr_lightning.errors import UserError
from sr_lightning.image import rgb_to_y, to_uint8
from sr_lightning.metrics import multiscale_similarity
from sr_lightning.schema import nearest

log = logging.getLogger(__name__)

METRICS = ("ms_ssim", "lpips", "dists", "niqe")
# torchvision's files; what follows the last hyphen is the beginning of the content's SHA-256.
ALEXNET, VGG16 = "alexnet-owt-7be5be79.pth", "vgg16-397923af.pth"


class QualityMetric(Protocol):
    """A figure for one picture. The caller shaves; rounding to 8 bit is done here."""

    name: str
    higher_is_better: bool
    protocol: str
    """What the figure is made of, for the results and beneath a table."""
    smallest: int
    """Pixels that each side must have."""

    def __call__(self, sr: Tensor, hr: Tensor) -> float:
        """(1, 3, H, W) twice, uint8 or floating point in [0, 1] -> the figure; NaN for a picture that is too small.

        Raises:
            ValueError: Other shapes.
        """


@dataclass(frozen=True)
class Unavailable:
    """Stands in for a metric that cannot be computed here."""

    metric: str
    reason: str


def build_quality(names: Sequence[str]) -> dict[str, QualityMetric | Unavailable]:
    """Makes metrics by their names.

    Args:
        names: Of `METRICS`.

    Returns:
        For each name the metric, or why there is none.

    Raises:
        UserError: There is no such metric.
    """
    unknown = [f"metrics: there is no {name!r}; {nearest(name, METRICS)}" for name in names if name not in METRICS]
    if unknown:
        raise UserError("\n".join(unknown))
    return {name: _build(name) for name in names}


def _build(name: str) -> QualityMetric | Unavailable:
    try:
        match name:
            case "ms_ssim":
                return MSSSIM()
            case "lpips":
                return LPIPS()
            case "dists":
                return DISTS()
    except WeightsMissingError as error:
        return Unavailable(name, str(error))
    return Unavailable(
        name,
        "NIQE measures the distance to a model of pristine photographs (Mittal et al. 2013), whose published "
        "parameters come with none of the installed packages; others would give figures that compare with no paper's",
    )


class WeightsMissingError(Exception):
    """The text says which file is missing, or what is wrong with it, and where it belongs."""


class MSSSIM:
    """MS-SSIM (Wang et al. 2003) of luma, with the window of SSIM."""

    name = "ms_ssim"
    higher_is_better = True
    protocol = "MS-SSIM: Y of 8-bit RGB, not rounded, range 255, 5 levels, 11x11 gaussian 1.5 valid"
    smallest = 176  # the window of 11 pixels, four times doubled

    def __call__(self, sr: Tensor, hr: Tensor) -> float:
        """See `QualityMetric`."""
        sr, hr = _levels(sr, hr)
        if _is_too_small(hr, self):
            return math.nan
        return float(multiscale_similarity(rgb_to_y(sr), rgb_to_y(hr), data_range=255).mean())


class LPIPS:
    """LPIPS 0.1 (Zhang et al. 2018) with AlexNet, torchmetrics' implementation and linear weights.

    Raises:
        WeightsMissingError: AlexNet's weights are not in torch's hub folder.
    """

    name = "lpips"
    higher_is_better = False
    protocol = "LPIPS: version 0.1, AlexNet, 8-bit RGB, whole picture"
    smallest = 31  # what AlexNet's second pooling leaves something of

    def __init__(self) -> None:
        _check_weights(ALEXNET, "LPIPS")
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        self._net: nn.Module = LearnedPerceptualImagePatchSimilarity(net_type="alex").net.requires_grad_(False).eval()

    def __call__(self, sr: Tensor, hr: Tensor) -> float:
        """See `QualityMetric`."""
        sr, hr = _levels(sr, hr)
        if _is_too_small(hr, self):
            return math.nan
        return _distance(self._net, sr * 2 - 1, hr * 2 - 1)


class DISTS:
    """DISTS (Ding et al. 2020), torchmetrics' implementation and weights for the layers.

    Raises:
        WeightsMissingError: VGG16's weights are not in torch's hub folder.
    """

    name = "dists"
    higher_is_better = False
    protocol = "DISTS: VGG16, 8-bit RGB, whole picture, not resized to 256 pixels"
    smallest = 16  # what VGG's four poolings leave a pixel of

    def __init__(self) -> None:
        _check_weights(VGG16, "DISTS")
        from torchmetrics.functional.image.dists import DISTSNetwork

        self._net: nn.Module = DISTSNetwork().requires_grad_(False).eval()

    def __call__(self, sr: Tensor, hr: Tensor) -> float:
        """See `QualityMetric`."""
        sr, hr = _levels(sr, hr)
        if _is_too_small(hr, self):
            return math.nan
        return _distance(self._net, sr, hr)


def _levels(sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    """Both as a saved file would hold them, in [0, 1], float64."""
    if sr.shape != hr.shape or sr.ndim != 4 or sr.shape[:2] != (1, 3):
        raise ValueError(f"expected two (1, 3, H, W), found {tuple(sr.shape)} and {tuple(hr.shape)}")
    a, b = (x if x.dtype == torch.uint8 else to_uint8(x) for x in (sr, hr))
    return a.to(torch.float64) / 255, b.to(torch.float64) / 255


def _is_too_small(x: Tensor, metric: QualityMetric) -> bool:
    height, width = x.shape[-2:]
    if min(height, width) >= metric.smallest:
        return False
    log.warning(
        "%s: a picture of %dx%d is too small (%d pixels are needed) and is left out",
        metric.name,
        width,
        height,
        metric.smallest,
    )
    return True


def _distance(net: nn.Module, sr: Tensor, hr: Tensor) -> float:
    """In float32, where the pictures lie."""
    with torch.inference_mode(), torch.autocast(sr.device.type, enabled=False):
        return float(net.to(sr.device)(sr.float(), hr.float()))


def _check_weights(name: str, metric: str) -> None:
    """Makes sure that the library will find its file, download nothing, and run nothing that is in it."""
    path = Path(torch.hub.get_dir(), "checkpoints", name)
    if not path.is_file():
        raise WeightsMissingError(
            f"{metric} needs torchvision's {name}, which is not in {path.parent}; put the file there "
            "(nothing is downloaded)"
        )
    expected = path.stem.rpartition("-")[2]
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(expected):
        raise WeightsMissingError(f"{path}: has the checksum {found[:8]}…, expected {expected}…; get the file again")
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsMissingError(f"{path}: cannot be read as plain weights: {reason}") from None
