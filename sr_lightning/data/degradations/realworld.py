"""Degradations of real photographs: blur, noise and JPEG, in one or two rounds.

Every parameter of a sample is drawn from (seed, k): an image is degraded identically with any number of workers or
devices and after a resume. Samples are processed one by one, so that the result does not depend on the batch, and by
the data workers, on the CPU, so that it does not depend on the device: a GPU draws other noise and rounds differently.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F

from sr_lightning.data.degradations.draw import Draw, Range, checked_range
from sr_lightning.data.degradations.jpeg import jpeg
from sr_lightning.errors import UserError
from sr_lightning.image.resize import resize

_SIDE = 21  # side of every blur kernel


class Classical:
    """Blur, downscaling, noise, JPEG: y = JPEG((x * k)↓s + n) (Zhang et al. 2021, eq. 2, in its fixed order).

    Args:
        seed: Determines the parameters, together with each sample's number.
        blur: Range of the Gaussian's standard deviation along each of its two axes, in HR pixels; [0, 0]: none.
        noise: Range of the Gaussian noise's standard deviation, in grey levels of 0 to 255.
        jpeg: Range of the JPEG quality; null: none.

    Raises:
        UserError: A range is invalid.
    """

    on_cpu = True

    def __init__(
        self,
        *,
        seed: int = 0,
        blur: Range = (0.2, 3.0),
        noise: Range = (0.0, 25.0),
        jpeg: Range | None = (30.0, 95.0),
    ) -> None:
        self.seed = seed
        self.blur = checked_range("blur", blur, 0, math.inf)
        self.noise = checked_range("noise", noise, 0, 255)
        self.jpeg = None if jpeg is None else checked_range("jpeg", jpeg, 1, 100)

    def margin(self, scale: int) -> int:
        """Returns 0, as only the window itself is needed."""
        return 0

    def describe(self) -> str:
        """Returns name and settings, for the protocol and the fingerprint."""
        return f"classical(blur={self.blur}, noise={self.noise}, jpeg={self.jpeg}, seed={self.seed})"

    def __call__(self, hr: Tensor, scale: int, keys: Sequence[int]) -> Tensor:
        """Maps (N, 3, h·s, w·s) uint8 and N sample numbers -> (N, 3, h, w) uint8."""
        return torch.cat([self._one(x[None], scale, key) for x, key in zip(hr, keys, strict=True)])

    def _one(self, hr: Tensor, scale: int, key: int) -> Tensor:
        draw = Draw(self.seed, key)
        x = hr.float() / 255
        if self.blur[1] > 0:
            x = filtered(x, gaussian(draw.uniform(self.blur), draw.uniform(self.blur), draw.uniform((0, math.pi))))
        x = resize(x, Fraction(1, scale))
        x = x + draw.normal(x.shape) * (draw.uniform(self.noise) / 255)
        if self.jpeg is not None:
            x = jpeg(x.clamp(0, 1), draw.uniform(self.jpeg))
        return (x.clamp(0, 1) * 255).round().to(torch.uint8)


class SecondOrder:
    """Blur, resize, noise and JPEG twice, then a sinc filter: Real-ESRGAN (Wang et al. 2021, section 3, appendix).

    Args:
        seed: Determines the parameters, together with each sample's number.
        blur: Ranges of the blur's standard deviation in the first and second round.
        resize: Ranges of the random resizing factor in both rounds.
        noise: Ranges of the Gaussian noise's standard deviation in grey levels.
        poisson: Ranges of the Poisson noise's strength.
        jpeg: Range of the JPEG quality.

    Raises:
        UserError: A range is invalid.
    """

    on_cpu = True

    # Probabilities from the paper's appendix: up, down, keep.
    _RESIZE = ((0.2, 0.7, 0.1), (0.3, 0.4, 0.3))
    _BLUR = (1.0, 0.8)
    _SINC, _FINAL_SINC, _GAUSSIAN, _GREY = 0.1, 0.8, 0.5, 0.4

    def __init__(
        self,
        *,
        seed: int = 0,
        blur: Sequence[Range] = ((0.2, 3.0), (0.2, 1.5)),
        resize: Sequence[Range] = ((0.15, 1.5), (0.3, 1.2)),
        noise: Sequence[Range] = ((1.0, 30.0), (1.0, 25.0)),
        poisson: Sequence[Range] = ((0.05, 3.0), (0.05, 2.5)),
        jpeg: Range = (30.0, 95.0),
    ) -> None:
        self.seed = seed
        self.blur = [checked_range("blur", r, 0, math.inf) for r in blur]
        self.resize = [checked_range("resize", r, 0.05, 4) for r in resize]
        self.noise = [checked_range("noise", r, 0, 255) for r in noise]
        self.poisson = [checked_range("poisson", r, 0, 100) for r in poisson]
        self.jpeg = checked_range("jpeg", jpeg, 1, 100)
        for name in ("blur", "resize", "noise", "poisson"):
            if len(getattr(self, name)) != 2:
                raise UserError(f"data.degradation.{name}: found {len(getattr(self, name))} ranges, allowed: two")

    def margin(self, scale: int) -> int:
        """Returns 0, as only the window itself is needed."""
        return 0

    def describe(self) -> str:
        """Returns name and settings, for the protocol and the fingerprint."""
        ranges = f"blur={self.blur}, resize={self.resize}, noise={self.noise}, poisson={self.poisson}, jpeg={self.jpeg}"
        return f"second_order({ranges}, seed={self.seed})"

    def __call__(self, hr: Tensor, scale: int, keys: Sequence[int]) -> Tensor:
        """Maps (N, 3, h·s, w·s) uint8 and N sample numbers -> (N, 3, h, w) uint8."""
        return torch.cat([self._one(x[None], scale, key) for x, key in zip(hr, keys, strict=True)])

    def _one(self, hr: Tensor, scale: int, key: int) -> Tensor:
        draw = Draw(self.seed, key)
        size = hr.shape[-2] // scale, hr.shape[-1] // scale
        x = self._round(hr.float() / 255, 0, draw, hr.shape[-2:])
        x = jpeg(x, draw.uniform(self.jpeg))
        x = self._round(x, 1, draw, size)
        sinc_first = draw.chance(0.5)
        if not sinc_first:
            x = jpeg(x, draw.uniform(self.jpeg))
        x = _resized(x, size, draw)
        if draw.chance(self._FINAL_SINC):
            x = filtered(x, sinc(draw.uniform((math.pi / 3, math.pi)))).clamp(0, 1)
        if sinc_first:
            x = jpeg(x, draw.uniform(self.jpeg))
        return (x.clamp(0, 1) * 255).round().to(torch.uint8)

    def _round(self, x: Tensor, which: int, draw: Draw, full: Sequence[int]) -> Tensor:
        """Applies blur, resizing and noise; `full` is the size that the resizing range refers to."""
        if draw.chance(self._BLUR[which]):
            if draw.chance(self._SINC):
                kernel = sinc(draw.uniform((math.pi / 3, math.pi)))
            else:
                deviations = draw.uniform(self.blur[which]), draw.uniform(self.blur[which])
                kernel = gaussian(*deviations, draw.uniform((0, math.pi)), power=draw.uniform((0.5, 2.0)))
            x = filtered(x, kernel)
        low, high = self.resize[which]
        bounds = ((1.0, max(high, 1.0)), (min(low, 1.0), 1.0), (1.0, 1.0))[draw.choice(self._RESIZE[which])]
        factor = draw.uniform(bounds)
        x = _resized(x, (max(round(full[0] * factor), 8), max(round(full[1] * factor), 8)), draw)
        grey = draw.chance(self._GREY)
        if draw.chance(self._GAUSSIAN):
            shape = (1, 1, *x.shape[-2:]) if grey else x.shape
            noise = draw.normal(shape) * (draw.uniform(self.noise[which]) / 255)
        else:
            base = x.clamp(0, 1).mean(1, keepdim=True) if grey else x.clamp(0, 1)
            noise = (draw.poisson(base * 255) / 255 - base) * draw.uniform(self.poisson[which])
        return (x + noise).clamp(0, 1)


def gaussian(deviation1: float, deviation2: float, angle: float, *, power: float = 1.0) -> Tensor:
    """Returns a (21, 21) kernel: exp(-d^power / 2), d the squared distance in deviations along two rotated axes.

    `power` 1 gives a Gaussian, other values the generalised one (Liu et al. 2020).
    """
    place = torch.arange(_SIDE, dtype=torch.float64) - _SIDE // 2
    y, x = torch.meshgrid(place, place, indexing="ij")
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    squared = (along / max(deviation1, 1e-3)) ** 2 + (across / max(deviation2, 1e-3)) ** 2
    kernel = torch.exp(-0.5 * squared**power)
    normal: Tensor = kernel / kernel.sum()
    return normal.float()


def sinc(cutoff: float) -> Tensor:
    """Returns a (21, 21) circular low-pass with ringing (Wang et al. 2021, eq. 6); `cutoff` in radians per pixel."""
    place = torch.arange(_SIDE, dtype=torch.float64) - _SIDE // 2
    distance = torch.hypot(place[:, None], place)
    kernel = cutoff * torch.special.bessel_j1(cutoff * distance) / (2 * math.pi * distance.clamp(min=1e-9))
    kernel[_SIDE // 2, _SIDE // 2] = cutoff**2 / (4 * math.pi)
    normal: Tensor = kernel / kernel.sum()
    return normal.float()


def filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlates (1, C, H, W) with a kernel; the border is mirrored (edge pixel included)."""
    reach = kernel.shape[0] // 2
    for dim in (-2, -1):
        n = x.shape[dim]
        index = torch.arange(-reach, n + reach, device=x.device) % (2 * n)
        x = x.index_select(dim, torch.where(index < n, index, 2 * n - 1 - index))
    channels = x.shape[1]
    # One group per channel: with the channels as a batch of single-channel images, torch takes three times as long.
    return F.conv2d(x, kernel.to(x).expand(channels, 1, -1, -1).contiguous(), groups=channels)


def _resized(x: Tensor, size: tuple[int, int], draw: Draw) -> Tensor:
    """Resizes by area, bilinear or bicubic interpolation, chosen at random."""
    mode = ("area", "bilinear", "bicubic")[draw.choice((1, 1, 1))]
    if mode == "area":
        return F.interpolate(x, size, mode="area")
    return F.interpolate(x, size, mode=mode, antialias=True, align_corners=False)
