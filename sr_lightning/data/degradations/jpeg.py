"""JPEG compression as tensor operations: chroma subsampling, DCT and quantisation, without entropy coding."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

# ITU-T T.81, annex K.1.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_CORNER = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))
# JFIF: full-range BT.601.
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def jpeg(x: Tensor, quality: float) -> Tensor:
    """Compresses and decompresses with chroma at half resolution (4:2:0), like libjpeg at that quality.

    Args:
        x: (N, 3, H, W) RGB in [0, 1].
        quality: 1 to 100.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    height, width = x.shape[-2:]
    matrix = torch.tensor(_TO_YCC, dtype=x.dtype, device=x.device)
    x = F.pad(x * 255, (0, -width % 16, 0, -height % 16), mode="replicate")
    ycc = torch.einsum("ij,njhw->nihw", matrix, x)
    luma = _quantised(ycc[:, :1] - 128, _table("luma", quality).to(x)) + 128
    chroma = _quantised(F.avg_pool2d(ycc[:, 1:], 2), _table("chroma", quality).to(x))
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    rgb = torch.einsum("ij,njhw->nihw", torch.linalg.inv(matrix), torch.cat([luma, chroma], dim=1))
    return (rgb[..., :height, :width].round() / 255).clamp(0, 1)


def _quantised(x: Tensor, table: Tensor) -> Tensor:
    """Rounds the DCT of each 8x8 block to multiples of a table; (N, C, H, W)."""
    n, c, height, width = x.shape
    basis = _cosines().to(x)
    blocks = x.reshape(n, c, height // 8, 8, width // 8, 8).transpose(3, 4)  # (N, C, rows, columns, 8, 8)
    coefficients = basis @ blocks @ basis.T
    blocks = basis.T @ ((coefficients / table).round() * table) @ basis
    return blocks.transpose(3, 4).reshape(n, c, height, width)


@functools.cache
def _cosines() -> Tensor:
    """Returns the orthonormal 8-point DCT-II matrix."""
    k, i = torch.arange(8, dtype=torch.float64)[:, None], torch.arange(8, dtype=torch.float64)
    basis = torch.cos(math.pi * (2 * i + 1) * k / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis


def _table(which: str, quality: float) -> Tensor:
    """Returns a standard table, scaled for the quality as in libjpeg."""
    if which == "luma":
        table = torch.tensor(_LUMA, dtype=torch.float64)
    else:
        table = torch.full((8, 8), 99.0, dtype=torch.float64)
        table[:4, :4] = torch.tensor(_CHROMA_CORNER, dtype=torch.float64)
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    return ((table * scale + 50) / 100).floor().clamp(1, 255)
