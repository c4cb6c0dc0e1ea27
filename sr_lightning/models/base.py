"""Interface between a super-resolution network and the code that trains, runs or loads it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from sr_lightning.errors import UserError
from sr_lightning.models.conversion import Official, State


class SRNetwork(nn.Module):
    """Base class of the networks in this package; it defines the interface and its defaults.

    `forward(x)` maps (N, C, h, w) float in [0, 1] to (N, C, h·s, w·s), not clamped, for every h and w of at least
    `min_size`: a network that works on windows does its own padding. A multi-scale network is called as
    `forward(x, scale=s)`. The receptive field is not declared: `inference.tiling` measures it.

    Custom networks need not inherit from this class: any `nn.Module` with such a `forward` will do. Attributes that it
    does not declare default to those below; the rest of the program reads them through `network_traits`.
    """

    channels: int = 3
    """C: 3 for RGB, 1 for Y, where chroma is upscaled by bicubic interpolation."""
    scales: tuple[int, ...] = ()
    """The scales the network was built for; empty: unknown."""
    min_size: int = 1
    """Minimum side length of an input in pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, h, w) in [0, 1] -> (N, C, h·s, w·s)."""
        raise NotImplementedError  # implemented by the networks

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts a published implementation's state dict to ours; returns None if its names are unknown."""
        return None

    @staticmethod
    def infer(state: State) -> dict[str, Any] | None:
        """Infers constructor arguments from the shapes of a state dict in our names; None if none can be inferred.

        Raises:
            KeyError: The names belong to another network; other errors of arithmetic and shapes mean the same.
        """
        return None


class NetworkTraits(NamedTuple):
    """Properties of a network that the program needs to call it."""

    channels: int
    scales: tuple[int, ...]
    min_size: int


def network_traits(net: nn.Module) -> NetworkTraits:
    """Returns what a network declares, with the defaults of `SRNetwork` for everything else.

    A plain module may declare its scale in an attribute `scale` instead of `scales`.
    """
    scales = getattr(net, "scales", SRNetwork.scales)
    if not isinstance(scales, Sequence):
        scales = (scales,)
    own = getattr(net, "scale", None)  # in many networks a learned factor
    if not scales and type(own) is int and own > 1:
        scales = (own,)
    channels = getattr(net, "channels", SRNetwork.channels)
    return NetworkTraits(channels=channels, scales=tuple(scales), min_size=min_size(net))


def min_size(module: nn.Module) -> int:
    """Returns the minimum input side of a network or discriminator in pixels; 1 if it declares none."""
    declared: int = getattr(module, "min_size", SRNetwork.min_size)
    return declared


def check_network(net: nn.Module) -> None:
    """Checks those parts of the interface that can be verified without running the network.

    Raises:
        UserError: One line for each missing or wrong part, with the class name.
    """
    name, traits, findings = type(net).__name__, network_traits(net), []
    if type(net).forward in (nn.Module.forward, SRNetwork.forward):
        findings.append(f"{name} has no forward, allowed: forward(x) of (N, C, h, w) -> (N, C, h·s, w·s)")
    if type(traits.channels) is not int or traits.channels not in (1, 3):
        findings.append(f"{name}.channels: found {traits.channels!r}, allowed: 1 (it works on Y) or 3 (RGB)")
    if any(type(scale) is not int or scale < 1 for scale in traits.scales):
        findings.append(f"{name}.scales: found {traits.scales!r}, allowed: whole numbers such as (2, 3, 4)")
    elif len(traits.scales) > 1 and not _takes(net, "scale"):
        findings.append(f"{name}.scales: found {traits.scales!r}, but its forward takes no scale: forward(x, scale)")
    if type(traits.min_size) is not int or traits.min_size < 1:
        findings.append(f"{name}.min_size: found {traits.min_size!r}, allowed: 1 and more pixels")
    if findings:
        raise UserError("\n".join(f"model: {finding}" for finding in findings))


def _takes(net: nn.Module, argument: str) -> bool:
    parameters = inspect.signature(type(net).forward).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
