"""Forward pass of a network: colour conversion for Y-only networks, scale argument for multi-scale ones."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor, nn

from sr_lightning.errors import UserError
from sr_lightning.image.color import rgb_to_ycbcr, ycbcr_to_rgb
from sr_lightning.image.resize import resize
from sr_lightning.models.base import network_traits


def apply_network(net: nn.Module, lr: Tensor, scale: int) -> Tensor:
    """Calls a network; a multi-scale one is given the scale.

    Args:
        net: See `models.base.SRNetwork`.
        lr: (N, C, h, w).
        scale: The SR scale.

    Returns:
        (N, C, h·s, w·s).

    Raises:
        UserError: The image is smaller than the network takes.
        ValueError: The network returned another size, or no floating-point tensor.
    """
    traits = network_traits(net)
    if any(side < traits.min_size for side in lr.shape[-2:]):  # not min(), which would export one orientation
        size = " x ".join(map(str, lr.shape[-2:]))
        raise UserError(f"model: {type(net).__name__} needs {traits.min_size} LR pixels on each side, found {size}")
    sr: Tensor = net(lr, scale=scale) if len(traits.scales) > 1 else net(lr)
    expected = (*lr.shape[:-2], lr.shape[-2] * scale, lr.shape[-1] * scale)
    if not isinstance(sr, Tensor) or not sr.is_floating_point():
        found = f"a tensor of {sr.dtype}" if isinstance(sr, Tensor) else f"a {type(sr).__name__}"
        raise ValueError(f"{type(net).__name__} made {found}; expected a floating-point tensor of {expected} in [0, 1]")
    if sr.shape != expected:
        found = f"{type(net).__name__} made {tuple(sr.shape)} from {tuple(lr.shape)} at x{scale}; expected {expected}"
        # A class of torch, chosen as the network, is no bug of torch.
        raise UserError(f"model: {found}") if type(net).__module__.startswith("torch.") else ValueError(found)
    return sr


def compile_for_inference(net: nn.Module) -> None:
    """Compiles a network in place, its weights as constants: for no training from now on, in this process.

    Laid out for their convolutions once, they made `edsr_small_y_x4` 1.2 times as fast as eager mode on a CPU;
    as arguments, 0.9 times. Each size of tile is compiled by itself, up to torch's limit of eight: torch 2.15 mistakes
    the layout of frozen convolutions whose sizes are left open.
    """
    from torch._inductor import config  # it takes a second

    config.freezing = True  # as an option of `compile` it is not heeded everywhere
    net.compile(dynamic=False)


def apply_to_rgb(net: nn.Module, lr: Tensor, scale: int) -> Tensor:
    """Enlarges RGB images in float32, whatever the training's precision was.

    A network of one channel gets Y; the chroma is enlarged by bicubic interpolation (as in the SRCNN, FSRCNN
    and ESPCN papers) and put back.

    Args:
        net: The network.
        lr: (N, 3, h, w) RGB in [0, 1].
        scale: The SR scale.

    Returns:
        (N, 3, h·s, w·s) RGB, not clamped.
    """
    with torch.autocast(lr.device.type, enabled=False):
        lr = lr.float()
        if network_traits(net).channels == 3:
            return apply_network(net, lr, scale).float()
        ycbcr = rgb_to_ycbcr(lr)  # (N, 3, h, w)
        y = apply_network(net, ycbcr[:, :1], scale).float()
        chroma = resize(ycbcr[:, 1:], Fraction(scale))  # (N, 2, h·s, w·s)
        return ycbcr_to_rgb(torch.cat([y, chroma], dim=1))


def device_of(net: nn.Module) -> torch.device | None:
    """The device of a network's weights; None: it has none."""
    for tensor in (*net.parameters(), *net.buffers()):
        return tensor.device
    return None
