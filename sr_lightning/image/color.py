"""Conversions between colour spaces and value ranges, image files as arrays, and dihedral transforms."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sr_lightning.files import replacing
from sr_lightning.image.decoder import MAX_PIXELS, decode

log = logging.getLogger(__name__)

SYMMETRIES = 8
# ITU-R BT.601, studio swing, as in MATLAB's rgb2ycbcr: RGB in [0, 1] to levels from 0 to 255.
_TO_YCBCR = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))
_OFFSET = (16.0, 128.0, 128.0)
LUMA_SPAN, LUMA_OFFSET = 219 / 255, 16 / 255
"""Y of a grey level is `LUMA_SPAN` x level + `LUMA_OFFSET`, all in [0, 1]."""


def read_rgb(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Reads any image as 8-bit RGB, and logs what is lost in the conversion; see `decode`."""
    decoded = decode(path, max_pixels=max_pixels)
    for lost in decoded.lost:
        log.warning("%s: has %s", path, lost)
    return decoded.rgb


def write_png(path: str | Path, pixels: NDArray[np.uint8]) -> None:
    """Writes (H, W, 3) uint8 atomically: never a partial image.

    Compression level 3 takes 40 % of the time of Pillow's 6, for files of photographs that are 2 % larger.
    """
    with replacing(Path(path)) as part:
        Image.fromarray(pixels).save(part, format="PNG", compress_level=3)


def to_uint8(x: Tensor) -> Tensor:
    """Converts floating point in [0, 1] to the levels that a file would hold: clamped, rounded half up."""
    return x.to(torch.float64, copy=True).clamp_(0, 1).mul_(255).add_(0.5).floor_().to(torch.uint8)


def rgb_to_y(x: Tensor) -> Tensor:
    """Returns the luma of (…, 3, H, W) RGB in [0, 1] as (…, 1, H, W) levels from 16 to 235, not rounded."""
    red, green, blue = x.unbind(-3)
    weights = _TO_YCBCR[0]
    return (weights[0] * red + weights[1] * green + weights[2] * blue + _OFFSET[0]).unsqueeze(-3)


def replace_luma(rgb: Tensor, y: Tensor) -> Tensor:
    """Replaces the luma of RGB images: Y enters R, G and B with the same weight, and chroma is unchanged.

    Args:
        rgb: (N, 3, H, W) in [0, 1].
        y: (N, 1, H, W), levels from 16 to 235 divided by 255.

    Returns:
        (N, 3, H, W), not clamped; its Y is `y`.
    """
    return rgb + (y - rgb_to_y(rgb) / 255) / LUMA_SPAN


def levels_to_y(x: Tensor) -> Tensor:
    """Like `rgb_to_y`, for (…, 3, H, W) uint8, in float64."""
    red, green, blue = x.unbind(-3)
    weights = [weight / 255 for weight in _TO_YCBCR[0]]
    y = red.to(torch.float64).mul_(weights[0])
    return y.add_(green, alpha=weights[1]).add_(blue, alpha=weights[2]).add_(_OFFSET[0]).unsqueeze(-3)


def rgb_to_ycbcr(x: Tensor) -> Tensor:
    """Applies MATLAB's `rgb2ycbcr` to (…, 3, H, W) in [0, 1]; the result is in [0, 1] too (levels / 255)."""
    matrix = torch.tensor(_TO_YCBCR, dtype=x.dtype, device=x.device)
    offset = torch.tensor(_OFFSET, dtype=x.dtype, device=x.device)[:, None, None]
    return (torch.einsum("ij,...jhw->...ihw", matrix, x) + offset) / 255


def ycbcr_to_rgb(x: Tensor) -> Tensor:
    """Inverse of `rgb_to_ycbcr`."""
    inverse = torch.linalg.inv(torch.tensor(_TO_YCBCR, dtype=torch.float64)).to(x)
    offset = torch.tensor(_OFFSET, dtype=x.dtype, device=x.device)[:, None, None]
    return torch.einsum("ij,...jhw->...ihw", inverse, x * 255 - offset)


def shave(x: Tensor, border: int) -> Tensor:
    """Crops `border` pixels from each side of (…, H, W)."""
    return x[..., border : x.shape[-2] - border, border : x.shape[-1] - border]


def dihedral(x: Tensor, code: int) -> Tensor:
    """Applies one of the eight symmetries of a square (`SYMMETRIES`), flips and rotations, to (…, H, W).

    Args:
        x: Any image.
        code: 0 to 7: 1 flips left-right, 2 flips top-bottom, then 4 transposes.
    """
    x = _flipped(x, code)
    return x.transpose(-1, -2) if code & 4 else x


def inverse_dihedral(x: Tensor, code: int) -> Tensor:
    """Inverse of `dihedral`."""
    return _flipped(x.transpose(-1, -2) if code & 4 else x, code)


def _flipped(x: Tensor, code: int) -> Tensor:
    flips = [dim for bit, dim in ((1, -1), (2, -2)) if code & bit]
    return x.flip(flips) if flips else x
