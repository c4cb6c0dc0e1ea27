"""PSNR and SSIM as reported in super-resolution papers: per image, on Y, of the 8-bit image that would be saved."""

from __future__ import annotations

import functools
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from sr_lightning.image.color import levels_to_y, to_uint8
from sr_lightning.image.color import shave as shaved

Channel = Literal["Y", "RGB"]
PROTOCOL = {
    "channel": "Y",
    "shave": "scale",
    "lr_kernel": "matlab_bicubic",
    "rounding": "uint8",
    "ssim": "11x11 gaussian 1.5 valid",
}
_WINDOW, _SIGMA = 11, 1.5
_BAND = 128
"""Rows processed at a time, so that their maps stay in the CPU cache."""
_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2


def psnr(sr: Tensor, hr: Tensor, *, shave: int, channel: Channel = "Y") -> Tensor:
    """Peak signal-to-noise ratio of each image in dB, for a range of 255.

    Args:
        sr: (N, 3, H, W), uint8, or floating point in [0, 1] that is first clamped and rounded to 8 bits.
        hr: Like `sr`.
        shave: Pixels cropped from each side.
        channel: `Y` (not rounded), or `RGB` for the mean over all three.

    Returns:
        (N,) float64; infinite for equal images.

    Raises:
        ValueError: The shapes differ, or nothing is left after shaving.
    """
    return _psnr(*_compared(sr, hr, shave, channel))


def ssim(sr: Tensor, hr: Tensor, *, shave: int, channel: Channel = "Y") -> Tensor:
    """Structural similarity of each image (Wang et al. 2004), over the valid region of an 11x11 Gaussian window.

    Arguments and errors as in `psnr`; images have to hold the window after shaving.

    Returns:
        (N,) float64.
    """
    return _ssim(*_compared(sr, hr, shave, channel), shave)


def psnr_and_ssim(sr: Tensor, hr: Tensor, *, shave: int, channel: Channel = "Y") -> tuple[Tensor, Tensor]:
    """PSNR and SSIM together; cheaper than two calls, because the conversion to Y dominates.

    Arguments, result and errors as in `psnr` and `ssim`.
    """
    a, b = _compared(sr, hr, shave, channel)
    return _psnr(a, b), _ssim(a, b, shave)


def _psnr(a: Tensor, b: Tensor) -> Tensor:
    return 10 * torch.log10(255**2 / _means((a - b).square_()).mean(1))


def _ssim(a: Tensor, b: Tensor, border: int) -> Tensor:
    if min(a.shape[-2:]) < _WINDOW:
        raise ValueError(f"SSIM needs {_WINDOW} pixels after shaving {border}, found {tuple(a.shape[-2:])}")
    return similarity(a, b, data_range=255)[0].mean(1)


def similarity(a: Tensor, b: Tensor, *, data_range: float) -> tuple[Tensor, Tensor]:
    """SSIM (Wang et al. 2004, eq. 13) over the valid region, differentiable.

    Args:
        a: (N, C, H, W), at least 11 pixels on each side.
        b: Like `a`.
        data_range: Largest possible difference of two values.

    Returns:
        SSIM, and its contrast-structure part without luminance (Wang et al. 2003), (N, C) each.

    Raises:
        ValueError: The images are smaller than the window.
    """
    if min(a.shape[-2:]) < _WINDOW:
        raise ValueError(f"SSIM needs {_WINDOW} pixels on each side, found {tuple(a.shape[-2:])}")
    n, c = a.shape[:2]
    a, b = a.flatten(0, 1).unsqueeze(1), b.flatten(0, 1).unsqueeze(1)  # (NC, 1, H, W)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    height = a.shape[-2] - _WINDOW + 1
    band = _BAND if _is_shifted(a, b) else height
    bands = [slice(top, top + band + _WINDOW - 1) for top in range(0, height, band)]
    parts = [_similarity_of_rows(a[..., rows, :], b[..., rows, :], c1, c2) for rows in bands]
    whole, contrast = (torch.cat(of_rows, -1).mean(-1).reshape(n, c) for of_rows in zip(*parts, strict=True))
    return whole, contrast


def _similarity_of_rows(a: Tensor, b: Tensor, c1: float, c2: float) -> tuple[Tensor, Tensor]:
    """Row means of the two maps of `similarity`: two (NC, 1, H, W) -> two (NC, 1, H - 10)."""
    # Both sides of each fraction are halved: only the mean of the variances is needed, which saves one of five maps.
    maps = _blurred(torch.cat([a, b, (a * a).addcmul_(b, b).mul_(0.5), a * b]))  # (4NC, 1, H - 10, W - 10)
    mean_a, mean_b, squares, product = maps.reshape(4, -1, *maps.shape[1:]).unbind()
    means, means_squared = mean_a * mean_b, (mean_a * mean_a).addcmul_(mean_b, mean_b).mul_(0.5)
    contrast = (product - means).add_(c2 / 2) / (squares - means_squared).add_(c2 / 2)
    return (contrast * (means + c1 / 2) / (means_squared + c1 / 2)).mean(-1), contrast.mean(-1)


def multiscale_similarity(a: Tensor, b: Tensor, *, data_range: float, levels: int = 5) -> Tensor:
    """MS-SSIM (Wang, Simoncelli and Bovik 2003, eq. 7), differentiable.

    Each level averages 2x2 pixels of the previous one. An odd last row or column is averaged with its mirror image, as
    in the authors' program (`imfilter(…, 'symmetric')`, then every second pixel). Other implementations treat odd sizes
    differently: piq pads at the top and left, which shifts the sampling by one pixel and changes the value by up to 2 %
    (5 levels, heavily distorted images); pytorch-msssim pads with zeros. All agree for sizes divisible by 16.

    Args:
        a: (N, C, H, W); each level halves the size, and the last must hold the window of 11 pixels.
        b: Like `a`.
        data_range: Largest possible difference of two values.
        levels: 1 to 5. With fewer than 5, the paper's exponents are divided by their sum.

    Returns:
        (N, C).

    Raises:
        ValueError: The images are too small, or the number of levels is not allowed.
    """
    if not 1 <= levels <= len(_EXPONENTS):
        raise ValueError(f"MS-SSIM has 1 to {len(_EXPONENTS)} levels, found {levels}")
    needed = _WINDOW * 2 ** (levels - 1)
    if min(a.shape[-2:]) < needed:
        raise ValueError(f"MS-SSIM of {levels} levels needs {needed} pixels on each side, found {tuple(a.shape[-2:])}")
    result = a.new_ones(a.shape[:2])
    for level, exponent in enumerate(_EXPONENTS[:levels]):
        whole, contrast = similarity(a, b, data_range=data_range)
        part = whole if level == levels - 1 else contrast
        # A negative similarity has no real power.
        result = result * part.clamp(min=1e-6) ** (exponent / sum(_EXPONENTS[:levels]))
        a, b = _halved(a), _halved(b)
    return result


def _halved(x: Tensor) -> Tensor:
    """Halves the size by averaging: (N, C, H, W) -> (N, C, ⌈H/2⌉, ⌈W/2⌉)."""
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        x = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
    return F.avg_pool2d(x, 2)


def _means(x: Tensor) -> Tensor:
    """Averages (…, H, W) -> (…), rows first: one sum over everything would depend on the number of threads."""
    return x.mean(-1).mean(-1)


def _is_shifted(*inputs: Tensor) -> bool:
    """Returns whether to blur by sums of shifted images: ten times as fast as torch's float64 convolution on a CPU.

    With gradients it is the reverse.
    """
    return not any(x.device.type != "cpu" or (x.requires_grad and torch.is_grad_enabled()) for x in inputs)


def _blurred(x: Tensor) -> Tensor:
    """Applies the Gaussian window: (N, 1, H, W) -> (N, 1, H - 10, W - 10)."""
    window = _gaussian()
    if not _is_shifted(x):
        window = window.to(x)
        return F.conv2d(F.conv2d(x, window[None, None, None]), window[None, None, :, None])
    weights = window.tolist()
    for dim in (-1, -2):
        n = x.shape[dim] - _WINDOW + 1
        total = x.narrow(dim, 0, n) * weights[0]
        for tap in range(1, _WINDOW):
            total.add_(x.narrow(dim, tap, n), alpha=weights[tap])
        x = total
    return x


@functools.cache
def _gaussian() -> Tensor:
    # A validation may be the first caller, and autograd rejects tensors created in inference mode.
    with torch.inference_mode(mode=False):
        distance = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
        window = torch.exp(-(distance**2) / (2 * _SIGMA**2))
        return window / window.sum()


def _compared(sr: Tensor, hr: Tensor, border: int, channel: Channel) -> tuple[Tensor, Tensor]:
    """Returns both images as shaved float64 levels of the compared channels."""
    if sr.shape != hr.shape or sr.ndim != 4 or sr.shape[1] != 3:
        raise ValueError(f"expected two (N, 3, H, W), found {tuple(sr.shape)} and {tuple(hr.shape)}")
    if min(sr.shape[-2:]) <= 2 * border:
        raise ValueError(f"nothing of {tuple(sr.shape[-2:])} is left after shaving {border} from each side")
    return _levels(shaved(sr, border), channel), _levels(shaved(hr, border), channel)


def _levels(x: Tensor, channel: Channel) -> Tensor:
    x = (x if x.dtype == torch.uint8 else to_uint8(x)).contiguous()  # memory order determines the order of summation
    return levels_to_y(x) if channel == "Y" else x.to(torch.float64)
