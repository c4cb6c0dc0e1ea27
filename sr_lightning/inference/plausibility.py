"""Plausibility of a network's output: an enlarged image, shrunk again, is the image that went in."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sr_lightning.inference.forward import apply_to_rgb, device_of
from sr_lightning.metrics.lr_psnr import lr_psnr
from sr_lightning.models.base import network_traits

log = logging.getLogger(__name__)

PLAUSIBLE = 15.0
"""Consistency in dB below which weights are used otherwise than they were trained."""
_SIZE = 32  # LR pixels: enough for windows and pooling, and less than a second for the largest network


def lr_consistency(net: nn.Module, scale: int) -> float:
    """How well a network's output agrees with its input.

    A trained network reaches 30 dB and more, whatever it makes of fine detail. One whose weights are used otherwise
    than they were trained (another range of values, another mean) stays far below.

    Args:
        net: The network; it is left as it is.
        scale: The scale to try.

    Returns:
        PSNR in dB, over RGB, between an image with the spectrum of a photograph and what the network makes of it,
        clamped to [0, 1] and shrunk by MATLAB's bicubic; -inf where it is not finite.
    """
    was_training = net.training
    lr = _photograph_like(max(_SIZE, network_traits(net).min_size)).to(device_of(net) or "cpu")
    net.eval()
    try:
        with torch.no_grad():
            sr = apply_to_rgb(net, lr, scale)
            consistency = lr_psnr(sr.clamp(0, 1), lr)
    finally:
        net.train(was_training)
    return -math.inf if math.isnan(consistency) else consistency


def warn_if_implausible(consistency: float, path: Path) -> None:
    """Says loudly that third-party weights fit by names and shapes, but make no image of an image."""
    if consistency < PLAUSIBLE:
        log.warning(
            "%s: the weights fit, but what the network makes of an image agrees with it by %.1f dB only (%.0f and more "
            "are usual). Likely causes: another range of values (0..1 or 0..255), order of colours (RGB or BGR), mean, "
            "or scale than it was trained with; or it was hardly trained",
            path,
            consistency,
            30,
        )


def _photograph_like(size: int) -> Tensor:
    """(1, 3, size, size) in [0, 1]: noise whose amplitude falls with 1/f, nearly the same in all three colours."""
    generator: Any = torch.Generator().manual_seed(0)  # its own: loading weights must not change later draws
    grey, colours = (
        torch.randn(1, 1, size, size, generator=generator),
        torch.randn(1, 3, size, size, generator=generator),
    )
    rows, columns = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None]
    amplitude = 1 / torch.sqrt(rows**2 + columns**2).clamp(min=1 / size)  # (size, size // 2 + 1)
    spectrum = torch.fft.rfft2(grey + 0.3 * colours) * amplitude
    spectrum[..., 0, 0] = 0
    image: Tensor = torch.fft.irfft2(spectrum, s=(size, size))
    return (0.5 + 0.2 * image / image.std()).clamp(0, 1)
