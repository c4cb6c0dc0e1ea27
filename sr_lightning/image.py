"""Picture file <-> array <-> tensor, and colour. Pure, but for the two functions that touch files."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from sr_lightning.errors import UserError

log = logging.getLogger(__name__)

MAX_PIXELS = 200_000_000
SYMMETRIES = 8
_WHITE = (255, 255, 255, 255)
# ITU-R BT.601, studio swing, as MATLAB's rgb2ycbcr: RGB in [0, 1] to levels of 0 to 255.
_TO_YCBCR = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))
_OFFSET = (16.0, 128.0, 128.0)


def read_rgb(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Reads any picture as 8-bit RGB; the one decoder of training and evaluation.

    The content decides the format, not the name. EXIF orientation is applied; transparent parts are put on
    white; 16-bit grey is scaled to 8 bit (never clipped); of an animation the first frame is taken, with a
    warning.

    Args:
        path: The file.
        max_pixels: Larger pictures are refused before they are decoded.

    Returns:
        (H, W, 3) uint8.

    Raises:
        UserError: Not a picture, damaged, too large, or of floating point; the message names the file.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning: our limit decides
            with Image.open(path) as image:
                _check(image, path, max_pixels)
                return np.ascontiguousarray(_to_rgb(ImageOps.exif_transpose(image), path))
    except UnidentifiedImageError:
        raise UserError(f"{path}: is not a picture ({path.stat().st_size} bytes of something else)") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be decoded: {error}") from None


def _check(image: Image.Image, path: Path, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise UserError(f"{path}: is {image.width}x{image.height}; allowed: up to {max_pixels / 1e6:.0f} megapixels")
    if (n_frames := getattr(image, "n_frames", 1)) > 1:
        log.warning("%s: has %d frames; only the first is used", path, n_frames)
        image.seek(0)


def _to_rgb(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    if image.mode == "F":
        raise UserError(f"{path}: holds floating-point values, whose range nobody knows; allowed: 8 or 16 bit")
    if image.mode.startswith("I"):  # 16-bit grey
        levels = np.asarray(image, dtype=np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise UserError(f"{path}: holds values from {levels.min()} to {levels.max()}; allowed: 0 to 65535")
        grey = ((levels * 2 + 257) // 514).astype(np.uint8)  # / 257, rounded
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    return np.asarray(image.convert("RGB"))


def write_png(path: str | Path, pixels: NDArray[np.uint8]) -> None:
    """Writes (H, W, 3) uint8 beside the final name and renames: never half a picture."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    Image.fromarray(pixels).save(part, format="PNG")
    os.replace(part, path)


def to_uint8(x: Tensor) -> Tensor:
    """Floating point in [0, 1] -> the levels that a file would hold: clamped, rounded half up."""
    return (x.to(torch.float64).clamp(0, 1) * 255 + 0.5).floor().to(torch.uint8)


def rgb_to_y(x: Tensor) -> Tensor:
    """Luma of (…, 3, H, W) RGB in [0, 1] -> (…, 1, H, W) in levels of 16 to 235, not rounded."""
    red, green, blue = x.unbind(-3)
    weights = _TO_YCBCR[0]
    return (weights[0] * red + weights[1] * green + weights[2] * blue + _OFFSET[0]).unsqueeze(-3)


def rgb_to_ycbcr(x: Tensor) -> Tensor:
    """MATLAB's `rgb2ycbcr` on (…, 3, H, W) in [0, 1]; the result is in [0, 1] too (levels / 255)."""
    matrix = torch.tensor(_TO_YCBCR, dtype=x.dtype, device=x.device)
    offset = torch.tensor(_OFFSET, dtype=x.dtype, device=x.device)[:, None, None]
    return (torch.einsum("ij,...jhw->...ihw", matrix, x) + offset) / 255


def ycbcr_to_rgb(x: Tensor) -> Tensor:
    """The inverse of `rgb_to_ycbcr`."""
    inverse = torch.linalg.inv(torch.tensor(_TO_YCBCR, dtype=torch.float64)).to(x)
    offset = torch.tensor(_OFFSET, dtype=x.dtype, device=x.device)[:, None, None]
    return torch.einsum("ij,...jhw->...ihw", inverse, x * 255 - offset)


def shave(x: Tensor, border: int) -> Tensor:
    """Cuts `border` pixels off each side of (…, H, W)."""
    return x[..., border : x.shape[-2] - border, border : x.shape[-1] - border]


def turned(x: Tensor, code: int) -> Tensor:
    """Applies one of the `SYMMETRIES` of a square, flips and quarter turns, to (…, H, W).

    Args:
        x: Any picture.
        code: 0 to 7: 1 flips left-right, 2 flips top-bottom, then 4 transposes.
    """
    x = _flipped(x, code)
    return x.transpose(-1, -2) if code & 4 else x


def turned_back(x: Tensor, code: int) -> Tensor:
    """The inverse of `turned`."""
    return _flipped(x.transpose(-1, -2) if code & 4 else x, code)


def _flipped(x: Tensor, code: int) -> Tensor:
    flips = [dim for bit, dim in ((1, -1), (2, -2)) if code & bit]
    return x.flip(flips) if flips else x
