"""Tiled inference in bounded memory, identical to whole-image inference.

The overlap is derived from the network's receptive field, which is measured once per network on a low, wide probe
image: one pass over NaN and two over noise.
"""

from __future__ import annotations

import copy
import functools
import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from sr_lightning.errors import UserError
from sr_lightning.inference.forward import apply_network, apply_to_rgb, device_of
from sr_lightning.inference.tile_grid import TileGrid, inside, scaled
from sr_lightning.models.base import network_traits

_HEIGHT = 16  # height of the probe images: enough for every network that pools
_WIDTHS = (256, 1024)  # widths of the probe images: multiples of every step
_STEPS = (1, 8, 16, 64)  # candidate steps; a multiple of the window size works as well
_USUAL_WINDOW = 16  # where no step preserves the result, tiles still begin at multiples of this, a common window size
_SAME = 1e-6  # relative to a float64 result: above rounding, far below one grey level
_CHROMA = 2  # reach of bicubic interpolation in LR pixels


def super_resolve_tiled(net: nn.Module, lr: Tensor, scale: int, *, tile: int, overlap: int | None = None) -> Tensor:
    """Enlarges RGB images tile by tile, in float32.

    Each tile is given the surrounding LR pixels on which its SR pixels depend, and the part of the result that belongs
    to that margin is cropped rather than blended. The result therefore equals that of the whole image up to the
    rounding of sums (below 1e-6; below 1e-5 for torch's bicubic at x3, which also rounds positions). For networks with
    windows, tiles begin at a window boundary.

    Args:
        net: The network; if it is on another device than the image, tiles are transferred and the image stays in place.
        lr: (N, 3, h, w) RGB in [0, 1].
        scale: The SR scale.
        tile: Largest side of a tile in LR pixels, without the overlap. Tiles are as equal as possible, so that there
            are no thin remainders.
        overlap: LR pixels that a tile sees beyond each side; None uses as many as the network needs, which may be many
            (RRDB: 349), although the farthest matter least.

    Returns:
        (N, 3, h·s, w·s) RGB on the device of `lr`, not clamped.

    Raises:
        UserError: `overlap` is None and no overlap would reproduce the whole image's result. With an explicit overlap,
            no such check is made.
    """
    if tile < 1:
        raise UserError(f"tile: found {tile}, allowed: LR pixels, from 1")
    if overlap is not None and overlap < 0:
        raise UserError(f"overlap: found {overlap}, allowed: LR pixels, from 0")
    device = device_of(net) or lr.device
    height, width = lr.shape[-2:]
    if tile >= max(height, width):
        return apply_to_rgb(net, lr.to(device), scale).to(lr.device)
    margin, step = tile_margin(net, scale, overlap)
    grid = TileGrid(height, width, tile, margin, step)
    sr = torch.empty(*lr.shape[:-2], height * scale, width * scale, device=lr.device)
    for part in grid.parts():
        window = grid.window(part)
        enlarged = apply_to_rgb(net, lr[..., *window].to(device), scale)
        sr[..., *scaled(part, scale)] = enlarged[..., *inside(part, window, scale)].to(lr.device)
    return sr


def receptive_radius(net: nn.Module, scale: int) -> int | None:
    """Returns the number of LR pixels on each side on which an SR pixel depends.

    Args:
        net: The network.
        scale: The SR scale.

    Returns:
        Chebyshev distance between the LR pixel that contains an SR pixel and the farthest LR pixel that it depends on;
        None if unbounded, as with a mean over the image (or larger than can be measured, about 500).
    """
    return _receptive_field(net, scale).radius


def receptive_field(net: nn.Module, scale: int) -> int | None:
    """Returns the number of LR pixels in a row on which an SR pixel depends, for tables.

    Args:
        net: The network.
        scale: The SR scale.

    Returns:
        Counted for SR pixels that come first in their LR pixel; for a network with windows, in the middle of an image;
        None as in `receptive_radius`.
    """
    for width in _WIDTHS:
        dependent = _Probe(net, scale, width).dependent_columns(1)
        if not (dependent[0] or dependent[-1]):
            return int(dependent[::scale].sum())
    return None


@dataclass(frozen=True)
class ReceptiveField:
    """Radius of a network's receptive field, and the shifts to which its result is equivariant."""

    radius: int | None
    """As in `receptive_radius`."""
    step: int | None
    """None if there is no such step, as when the image size determines how features are resampled."""


# Measured once per network object; entries are dropped together with their network.
_known: WeakKeyDictionary[nn.Module, dict[int, ReceptiveField]] = WeakKeyDictionary()


def set_receptive_field(net: nn.Module, scale: int, field: ReceptiveField) -> None:
    """Sets the receptive field of a network for which it cannot be measured."""
    _known.setdefault(net, {})[scale] = field


def tile_margin(net: nn.Module, scale: int, overlap: int | None) -> tuple[int, int]:
    """Returns the overlap, and the step to which tile positions have to be aligned.

    Raises:
        UserError: As in `super_resolve_tiled`.
    """
    field = _receptive_field(net, scale)
    if overlap is not None:
        return overlap, field.step or _USUAL_WINDOW
    ways = "allowed: tile=null, or overlap=<LR pixels> for tiles that are blended, which gives another result"
    if field.radius is None:
        raise UserError(
            f"tile: every output pixel of {type(net).__name__} depends on the whole image (it takes a mean over it), "
            f"so tiles would change its result; {ways}"
        )
    if field.step is None:
        raise UserError(
            f"tile: the output of {type(net).__name__} depends on the image's size, so tiles would change its "
            f"result; {ways}"
        )
    return (field.radius if network_traits(net).channels == 3 else max(field.radius, _CHROMA)), field.step


def _receptive_field(net: nn.Module, scale: int) -> ReceptiveField:
    known = _known.setdefault(net, {})
    if scale not in known:
        known[scale] = _measure(net, scale)
    return known[scale]


def _measure(net: nn.Module, scale: int) -> ReceptiveField:
    radius: int | None = None
    for width in _WIDTHS:
        probe = _Probe(net, scale, width)
        radius = probe.radius(1)
        if radius is None:
            continue
        for step in _STEPS:
            wide = radius if step == 1 else probe.radius(step)
            if wide is None or 2 * (wide + step) >= width:
                break  # the probe is too narrow to tell
            if probe.is_same_when_cut(step, wide):
                return ReceptiveField(wide, step)
        else:
            return ReceptiveField(radius, None)
    return ReceptiveField(radius, None)


class _Probe:
    """A low, wide noise image, and a copy of the network to run on it.

    It runs on the CPU, whose convolutions do not mix neighbours that the network does not mix.
    """

    def __init__(self, net: nn.Module, scale: int, width: int) -> None:
        self.net, self.scale, self.width = copy.deepcopy(net).cpu().eval(), scale, width
        shape = (1, network_traits(net).channels, _HEIGHT, width)
        self.noise = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def dependent_columns(self, n: int) -> Tensor:
        """Returns which SR columns depend on the `n` LR columns from the middle on: (width · s,) bool.

        NaN propagates through sums, products, rectifiers and maxima, even where a weight is zero or a rectifier is
        inactive; it therefore shows what can matter, not just what happens to.
        """
        x = self.noise.float()
        x[..., self.width // 2 : self.width // 2 + n] = math.nan
        with torch.no_grad():
            y = apply_network(self.net.float(), x, self.scale)
        return y.isnan().any(2).flatten(0, 1).any(0)

    def radius(self, n: int) -> int | None:
        """Largest distance at which SR columns depend on the `n` LR columns; None if it reaches the probe's ends."""
        dependent = self.dependent_columns(n)
        if dependent[0] or dependent[-1]:
            return None
        columns = dependent.nonzero().flatten() // self.scale  # in LR pixels
        first, last = self.width // 2, self.width // 2 + n - 1
        return int(max(last - columns.min(), columns.max() - first))

    def is_same_when_cut(self, step: int, radius: int) -> bool:
        """Returns whether cropping `step` columns from both ends leaves the result in the interior unchanged."""
        with torch.no_grad():
            cut = apply_network(self.net.double(), self.noise[..., step : self.width - step], self.scale)
        begin, end = (step + radius) * self.scale, (self.width - step - radius) * self.scale
        whole = self.whole[..., begin:end]
        cut = cut[..., radius * self.scale : cut.shape[-1] - radius * self.scale]
        return bool((whole - cut).abs().max() <= _SAME * max(1.0, float(whole.abs().max())))

    @functools.cached_property
    def whole(self) -> Tensor:
        """Result for the whole probe, in float64."""
        with torch.no_grad():
            return apply_network(self.net.double(), self.noise, self.scale)
