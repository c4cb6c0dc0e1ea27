"""Plausibility check of a network's output: downscaled again, it should match the input."""

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
"""Consistency in dB below which weights are likely used differently from how they were trained."""
_SIZE = 32  # LR pixels: enough for windows and pooling, and under a second for the largest network


def lr_consistency(net: nn.Module, scale: int) -> float:
    """Measures how well a network's output agrees with its input.

    A trained network reaches 30 dB and more, however it renders fine detail. One whose weights are used differently
    from how they were trained (other value range, other mean) stays far below.

    Args:
        net: The network; not modified.
        scale: The scale factor to test.

    Returns:
        PSNR in dB, over RGB, between an image with the spectrum of a photograph and the network's output for it,
        clamped to [0, 1] and downscaled by MATLAB's bicubic; -inf if the output is not finite.
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
    """Warns that third-party weights match by names and shapes, but do not reproduce their input."""
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
    """Noise (1, 3, size, size) in [0, 1] with a 1/f amplitude spectrum and strongly correlated channels."""
    generator: Any = torch.Generator().manual_seed(0)  # loading must not change later draws
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
