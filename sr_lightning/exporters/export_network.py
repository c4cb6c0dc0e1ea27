"""Network in the form that is exported: RGB to RGB, for one scale, in float32 or with float16 inside."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from sr_lightning.exporters.card import Card
from sr_lightning.exporters.parity import Comparison, Function, compare, sizes
from sr_lightning.inference.forward import apply_network
from sr_lightning.inference.planes import apply_to_planes
from sr_lightning.models.base import SRNetwork, network_traits

LARGEST = 65_536
"""Maximum side of an image in pixels."""

_SMALLEST = (16, 24, 32)  # minimum sides in pixels, tried if not every size works: a common window, poolings


@dataclass(frozen=True)
class Export:
    """A network to export, and its card."""

    net: nn.Module
    """In evaluation mode, on the CPU, in float32."""
    card: Card

    def network(self) -> nn.Module:
        """Returns the module to export: (N, 3, h, w) RGB -> (N, 3, h·s, w·s) RGB."""
        return _RGBNetwork(self.net, self.card).eval()

    def example(self) -> Tensor:
        """Returns an example input; exporters generalise from sizes that are neither 0 nor 1, nor equal."""
        side = max(2 * self.card.min_size, 16)
        return torch.rand(2, 3, side + 3, side + 8, generator=torch.Generator().manual_seed(0))

    def program(self, batch: Dim | None, *, checks_sizes: bool = False) -> ExportedProgram:
        """Returns the network as a graph of torch operations, for any height and width.

        Args:
            batch: Dynamic batch dimension; None for a batch of one.
            checks_sizes: Raise an error if the graph cannot be shown to hold for all sizes; otherwise some sizes may be
                rejected or computed incorrectly at run time.
        """
        sides = {axis: Dim(name, min=self.card.min_size, max=LARGEST) for axis, name in ((2, "height"), (3, "width"))}
        shapes = sides if batch is None else {0: batch} | sides
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            return torch.export.export(
                self.network(),
                (self.example() if batch is not None else self.example()[:1],),
                dynamic_shapes=(shapes,),
                prefer_deferred_runtime_asserts_over_guards=not checks_sizes,
            )

    def without_tiny_images(self) -> Iterator[Export]:
        """Yields this export, then ones with a larger minimum size, as pooled windows make tiny images special."""
        yield self
        for smallest in _SMALLEST:
            if smallest > self.card.min_size:
                yield replace(self, card=replace(self.card, min_size=smallest))

    def prove(self, file: Function) -> list[Comparison]:
        """Compares an exported file with the network in float32; see `compare`."""
        scale, shapes = self.card.scale, sizes(self.card.min_size)
        return compare(file, self.expected, shapes, scale, precision=self.card.precision)

    def expected(self, lr: Tensor) -> Tensor:
        """Returns the reference result, as `upscale` computes it."""
        return apply_to_planes(self.net, lr, self.card.scale)


class _RGBNetwork(nn.Module):
    def __init__(self, net: nn.Module, card: Card) -> None:
        super().__init__()
        net = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
        self.net = _HalfNetwork(net, card.scale) if card.precision == "float16" else net
        self.scale = card.scale

    def forward(self, lr: Tensor) -> Tensor:
        return apply_to_planes(self.net, lr, self.scale)


class _HalfNetwork(SRNetwork):
    """A float16 network with float32 input and output."""

    def __init__(self, net: nn.Module, scale: int) -> None:
        super().__init__()
        traits = network_traits(net)
        self.channels, self.min_size, self.scales = traits.channels, traits.min_size, (scale,)
        self.net = net.half()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h·s, w·s), float32."""
        return apply_network(self.net, x.half(), self.scales[0]).float()
