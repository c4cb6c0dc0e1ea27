"""Super-resolution of LR images: whole, in tiles, with self-ensemble; and the bicubic baseline."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor, nn

from sr_lightning.image.color import SYMMETRIES, dihedral, inverse_dihedral, to_uint8
from sr_lightning.image.resize import Kernel, resize
from sr_lightning.inference.forward import apply_network, apply_to_rgb
from sr_lightning.inference.tiling import super_resolve_tiled

__all__ = ["apply_network", "bicubic", "super_resolve"]


def super_resolve(
    net: nn.Module,
    lr: Tensor,
    scale: int,
    *,
    self_ensemble: bool = False,
    tile: int | None = None,
    overlap: int | None = None,
) -> Tensor:
    """Enlarges RGB images in float32, whatever precision was used for training.

    Args:
        net: The network; a single-channel one is given Y, see `apply_to_rgb`.
        lr: (N, 3, h, w) RGB in [0, 1].
        scale: The SR scale.
        self_ensemble: Average the results for all eight dihedral transforms, each transformed back (Timofte et al.
            2016, section 3.5; the "+" in EDSR's tables), before clamping. Takes eight times the work.
        tile: Largest side of a tile in LR pixels, without the overlap; None processes the whole image at once.
        overlap: As in `super_resolve_tiled`.

    Returns:
        (N, 3, h·s, w·s) RGB, not clamped.

    Raises:
        UserError: Tiles would change the result; see `super_resolve_tiled`.
    """
    if not self_ensemble:
        if tile is None:
            return apply_to_rgb(net, lr, scale)
        return super_resolve_tiled(net, lr, scale, tile=tile, overlap=overlap)
    height, width = lr.shape[-2] * scale, lr.shape[-1] * scale
    total = torch.zeros(*lr.shape[:-2], height, width, device=lr.device)
    for code in range(SYMMETRIES):
        total += inverse_dihedral(super_resolve(net, dihedral(lr, code), scale, tile=tile, overlap=overlap), code)
    return total / SYMMETRIES


def bicubic(lr: Tensor, scale: int, *, kernel: Kernel = "bicubic") -> Tensor:
    """Returns the usual baseline: MATLAB's bicubic interpolation of 8-bit levels.

    Args:
        lr: (N, 3, h, w) float in [0, 1], as read from an 8-bit file.
        scale: The scale factor.
        kernel: `bicubic_double` rounds once, as MATLAB does for doubles.

    Returns:
        (N, 3, h·s, w·s) uint8.
    """
    return resize(to_uint8(lr), Fraction(scale), kernel=kernel)
