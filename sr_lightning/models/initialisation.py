"""Weight initialisation: He, Gaussian, ICNR, zero."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

RESIDUAL = 0.1
"""Scale of `kaiming_` at the end of a residual branch: the smaller initialisation of Wang et al. 2018, section 3.1."""
C = TypeVar("C", nn.Conv2d, nn.ConvTranspose2d)


def kaiming_(layer: C, *, negative_slope: float = 0.0, scale: float = 1.0) -> C:
    """Applies He initialisation for ReLU (He et al. 2015, eq. 10): N(0, 2 / fan-in), biases 0.

    Args:
        layer: Layer to initialise in place.
        negative_slope: Slope of a leaky or parametric ReLU (eq. 15).
        scale: Factor applied to the weights. At 1, each residual block doubles the variance: 10^24 times in 80 blocks;
            `RESIDUAL` in the last layer of a residual branch preserves it.

    Returns:
        The layer.
    """
    nn.init.kaiming_normal_(layer.weight, a=negative_slope, mode="fan_in", nonlinearity="leaky_relu")
    with torch.no_grad():
        layer.weight.mul_(scale)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def gaussian_(layer: C, std: float) -> C:
    """Initialises with N(0, std²), biases 0, as specified for layers of SRCNN and FSRCNN without a ReLU after them."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def icnr_(layer: nn.Conv2d, scale: int) -> nn.Conv2d:
    """Initialises a sub-pixel convolution as nearest-neighbour upsampling, which avoids checkerboard artefacts.

    Aitken et al. 2017 (arXiv 1707.02937), section 3: the s² kernels of an output channel are initialised equally.

    Args:
        layer: n_in -> n_out · s² channels, followed by `PixelShuffle(s)`; initialised in place.
        scale: Scale factor s.

    Returns:
        The layer.
    """
    n_out = layer.weight.shape[0] // scale**2
    kernel = torch.empty(n_out, *layer.weight.shape[1:])
    nn.init.kaiming_normal_(kernel, nonlinearity="relu")
    with torch.no_grad():
        layer.weight.copy_(kernel.repeat_interleave(scale**2, dim=0))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def zero_last_conv_(module: nn.Module) -> None:
    """Sets a network's last convolution to zero, so that a network with a global skip initially equals the skip."""
    last = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)][-1]
    nn.init.zeros_(last.weight)
    if last.bias is not None:
        nn.init.zeros_(last.bias)
