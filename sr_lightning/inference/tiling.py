"""Tiled inference in bounded memory, identical to the result of the whole image.

The overlap follows from the network's receptive field, which is measured once for each network: on a low, wide
image, in one pass over NaN and two over noise.
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

_HEIGHT = 16  # of the probes: enough for every network that pools
_WIDTHS = (256, 1024)  # multiples of every step
_STEPS = (1, 8, 16, 64)  # a multiple of a window does as well
_USUAL_WINDOW = 16  # where no step keeps the result, tiles begin at windows of up to 16 pixels all the same
_SAME = 1e-6  # of a float64 result: above rounding, and far below a grey level
_CHROMA = 2  # LR pixels that bicubic interpolation sees


def super_resolve_tiled(net: nn.Module, lr: Tensor, scale: int, *, tile: int, overlap: int | None = None) -> Tensor:
    """Enlarges RGB images tile by tile, in float32.

    Each tile is given the LR pixels around it on which its SR pixels depend, and what comes of those is cut off,
    not blended. So the result is that of the whole image, but for the rounding of sums (below 1e-6; torch's bicubic,
    which rounds positions too, at x3 below 1e-5). Networks with windows get tiles that begin at a window.

    Args:
        net: The network; where it lies elsewhere than the image, tiles travel and the image stays.
        lr: (N, 3, h, w) RGB in [0, 1].
        scale: The SR scale.
        tile: Largest side of a tile in LR pixels, without the overlap. Tiles are as equal as can be: there
            are no thin rests.
        overlap: LR pixels that a tile sees beyond each side. None: as many as the network needs, which may be many
            (RRDB: 349); the farthest matter least.

    Returns:
        (N, 3, h·s, w·s) RGB on the device of `lr`, not clamped.

    Raises:
        UserError: No overlap would give the whole image's result, and none is named. With one that is named the
            result is whatever it gives.
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
    """LR pixels on each side on which an SR pixel depends.

    Args:
        net: The network.
        scale: The SR scale.

    Returns:
        Chebyshev distance between the LR pixel that an SR pixel lies in and the farthest that it depends on; None:
        unbounded, as where a mean over the image is taken (or more than can be measured, about 500).
    """
    return _receptive_field(net, scale).radius


def receptive_field(net: nn.Module, scale: int) -> int | None:
    """LR pixels of a row on which an SR pixel depends, for tables.

    Args:
        net: The network.
        scale: The SR scale.

    Returns:
        Counted for SR pixels that lie first in their LR pixel; of a network with windows in the middle of an image;
        None as in `receptive_radius`.
    """
    for width in _WIDTHS:
        dependent = _Probe(net, scale, width).dependent_columns(1)
        if not (dependent[0] or dependent[-1]):
            return int(dependent[::scale].sum())
    return None


@dataclass(frozen=True)
class ReceptiveField:
    """Radius of a network's receptive field, and the grid of shifts that leave its result unchanged."""

    radius: int | None
    """As in `receptive_radius`."""
    step: int | None
    """None: none, as where the size of the image decides how features are resampled."""


# Measured once for each network object; a network that is gone leaves nothing behind.
_known: WeakKeyDictionary[nn.Module, dict[int, ReceptiveField]] = WeakKeyDictionary()


def set_receptive_field(net: nn.Module, scale: int, field: ReceptiveField) -> None:
    """States it for a network that does not show it when it is run."""
    _known.setdefault(net, {})[scale] = field


def tile_margin(net: nn.Module, scale: int, overlap: int | None) -> tuple[int, int]:
    """The overlap, and the number of which the tiles' first pixels have to be multiples.

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
                break  # the probe is too narrow to judge
            if probe.is_same_when_cut(step, wide):
                return ReceptiveField(wide, step)
        else:
            return ReceptiveField(radius, None)
    return ReceptiveField(radius, None)


class _Probe:
    """A low, wide image of noise, and a copy of the network that enlarges it.

    On the CPU, whose convolutions mix no neighbours that the network does not mix.
    """

    def __init__(self, net: nn.Module, scale: int, width: int) -> None:
        self.net, self.scale, self.width = copy.deepcopy(net).cpu().eval(), scale, width
        shape = (1, network_traits(net).channels, _HEIGHT, width)
        self.noise = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def dependent_columns(self, n: int) -> Tensor:
        """Which SR columns depend on `n` LR columns from the middle on: (width · s,) bool.

        NaN spreads through sums, products, rectifiers and maxima, also where a weight is zero or a
        rectifier closed, so that it shows what could matter, not what happens to.
        """
        x = self.noise.float()
        x[..., self.width // 2 : self.width // 2 + n] = math.nan
        with torch.no_grad():
            y = apply_network(self.net.float(), x, self.scale)
        return y.isnan().any(2).flatten(0, 1).any(0)

    def radius(self, n: int) -> int | None:
        """Of the SR columns that `n` LR columns touch, the farthest distance; None: the ends of the probe too."""
        dependent = self.dependent_columns(n)
        if dependent[0] or dependent[-1]:
            return None
        columns = dependent.nonzero().flatten() // self.scale  # in LR
        first, last = self.width // 2, self.width // 2 + n - 1
        return int(max(last - columns.min(), columns.max() - first))

    def is_same_when_cut(self, step: int, radius: int) -> bool:
        """Whether the probe without its first and last `step` columns has the same result inside."""
        with torch.no_grad():
            cut = apply_network(self.net.double(), self.noise[..., step : self.width - step], self.scale)
        begin, end = (step + radius) * self.scale, (self.width - step - radius) * self.scale
        whole = self.whole[..., begin:end]
        cut = cut[..., radius * self.scale : cut.shape[-1] - radius * self.scale]
        return bool((whole - cut).abs().max() <= _SAME * max(1.0, float(whole.abs().max())))

    @functools.cached_property
    def whole(self) -> Tensor:
        """The result for the probe, in float64."""
        with torch.no_grad():
            return apply_network(self.net.double(), self.noise, self.scale)
