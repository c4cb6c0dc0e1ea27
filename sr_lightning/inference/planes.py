"""Enlargement of grey and RGB images by networks with one or three channels."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from sr_lightning.image.color import LUMA_OFFSET, LUMA_SPAN, replace_luma, rgb_to_y
from sr_lightning.image.resize import enlarge
from sr_lightning.inference.forward import apply_network
from sr_lightning.models.base import network_traits
from sr_lightning.models.precision import exact_float32


def apply_to_planes(net: nn.Module, lr: Tensor, scale: int, *, precision: torch.dtype = torch.float32) -> Tensor:
    """Enlarges grey or RGB images.

    For RGB in float32 the result equals that of `apply_to_rgb` up to rounding (below 1e-6), at lower cost: Y enters R,
    G and B with the same weight, so only the difference between the network's Y and the bicubic Y has to be added to
    the bicubic RGB.

    Args:
        net: A single-channel network is given Y. A three-channel one is given grey as RGB, and the luma of its result
            is returned.
        lr: (N, 1, h, w) grey or (N, 3, h, w) RGB, float32 in [0, 1].
        scale: The scale factor.
        precision: float32, or bfloat16 for the network's operations.

    Returns:
        (N, 1 or 3, h·s, w·s), float32, not clamped.
    """
    is_grey, is_luma = lr.shape[1] == 1, network_traits(net).channels == 1
    is_float32 = precision == torch.float32
    exactly = exact_float32(lr.device) if is_float32 else nullcontext()
    with torch.autocast(lr.device.type, dtype=precision, enabled=not is_float32), exactly:
        if not is_luma:
            x = lr.expand(-1, 3, -1, -1) if is_grey else lr
            sr = apply_network(net, x.contiguous(memory_format=torch.channels_last), scale).float()
        else:
            y = lr * LUMA_SPAN + LUMA_OFFSET if is_grey else rgb_to_y(lr) / 255  # (N, 1, h, w)
            sr = apply_network(net, y, scale).float()
    if is_luma:
        if is_grey:
            return (sr - LUMA_OFFSET) / LUMA_SPAN
        return replace_luma(enlarge(lr, scale), sr)  # (N, 3, h·s, w·s)
    return (rgb_to_y(sr) / 255 - LUMA_OFFSET) / LUMA_SPAN if is_grey else sr
