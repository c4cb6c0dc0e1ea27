"""Metrics beside PSNR and SSIM. Where the weights of one are not at hand, the reason stands in its place.

Nothing is ever downloaded here, and a weights file is read as plain data or not at all.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sr_lightning.errors import UserError
from sr_lightning.files import sha256
from sr_lightning.image.color import rgb_to_y, to_uint8
from sr_lightning.metrics.niqe import BLOCK, Pristine, niqe
from sr_lightning.metrics.psnr_ssim import multiscale_similarity
from sr_lightning.text import nearest

log = logging.getLogger(__name__)

METRICS = ("ms_ssim", "lpips", "dists", "niqe")
# Files in torch's hub folder and how their SHA-256 begins, which torchvision writes into the name.
ALEXNET = ("alexnet-owt-7be5be79.pth", "7be5be79")
VGG16 = ("vgg16-397923af.pth", "397923af")
PRISTINE = ("niqe_pris_params.npz", "2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296")


class QualityMetric(Protocol):
    """A figure for one image. The caller shaves; rounding to 8 bit is done here."""

    name: str
    higher_is_better: bool
    protocol: str
    """What the figure is made of, for the results and beneath a table."""
    smallest: int
    """Pixels that each side must have."""

    def __call__(self, sr: Tensor, hr: Tensor) -> float:
        """(1, 3, H, W) twice, uint8 or floating point in [0, 1] -> the figure; NaN for an image that is too small.

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
            case _:
                return NIQE()
    except WeightsMissingError as error:
        return Unavailable(name, str(error))


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
    protocol = "LPIPS: version 0.1, AlexNet, 8-bit RGB, whole image"
    smallest = 31  # what AlexNet's second pooling leaves something of

    def __init__(self) -> None:
        _check_plain(_find(ALEXNET, "LPIPS needs torchvision's"))
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
    protocol = "DISTS: VGG16, 8-bit RGB, whole image, not resized to 256 pixels"
    smallest = 16  # what VGG's four poolings leave a pixel of

    def __init__(self) -> None:
        _check_plain(_find(VGG16, "DISTS needs torchvision's"))
        from torchmetrics.functional.image.dists import DISTSNetwork

        self._net: nn.Module = DISTSNetwork().requires_grad_(False).eval()

    def __call__(self, sr: Tensor, hr: Tensor) -> float:
        """See `QualityMetric`."""
        sr, hr = _levels(sr, hr)
        if _is_too_small(hr, self):
            return math.nan
        return _distance(self._net, sr, hr)


class NIQE:
    """NIQE (Mittal et al. 2013) of what a network made; the truth plays no part.

    Raises:
        WeightsMissingError: The model of pristine photographs is not in torch's hub folder. One of our own would give
            figures that compare with no paper's.
    """

    name = "niqe"
    higher_is_better = False
    protocol = "NIQE: Y of 8-bit RGB, rounded, blocks of 96 pixels, the authors' pristine model"
    smallest = 2 * BLOCK  # a covariance needs several blocks

    def __init__(self) -> None:
        path = _find(PRISTINE, "NIQE needs its authors' pristine model as BasicSR has it,")
        with np.load(path, allow_pickle=False) as held:
            self._pristine = Pristine(held["mu_pris_param"].ravel().astype(float), held["cov_pris_param"].astype(float))

    def __call__(self, sr: Tensor, hr: Tensor) -> float:
        """See `QualityMetric`; NaN for a flat image too."""
        sr, hr = _levels(sr, hr)
        if _is_too_small(hr, self):
            return math.nan
        return niqe(rgb_to_y(sr)[0, 0].round().cpu().numpy(), self._pristine)


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
        "%s: an image of %dx%d is too small (%d pixels are needed) and is left out",
        metric.name,
        width,
        height,
        metric.smallest,
    )
    return True


def _distance(net: nn.Module, sr: Tensor, hr: Tensor) -> float:
    """In float32, where the images lie."""
    with torch.inference_mode(), torch.autocast(sr.device.type, enabled=False):
        return float(net.to(sr.device)(sr.float(), hr.float()))


def _find(file: tuple[str, str], need: str) -> Path:
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


def _check_plain(path: Path) -> None:
    """The library would execute what is in the file; it gets only what is known to be plain data."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsMissingError(f"{path}: cannot be read as plain weights: {reason}") from None
