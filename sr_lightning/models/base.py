"""The contract between a super-resolution network and everything that trains, runs or loads one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from sr_lightning.errors import UserError
from sr_lightning.models.conversion import Official, State


class SRNetwork(nn.Module):
    """Base class of the networks in this package; it states the contract and its defaults.

    `forward(x)` maps (N, C, h, w) float in [0, 1] to (N, C, h·s, w·s), not clamped, for every h and w from
    `min_size` on: a network that works on windows pads for itself. A network of several scales is called as
    `forward(x, scale=s)`. How far an output pixel sees is not declared: `inference.tiling` measures it.

    A user's own network need not inherit from it: any `nn.Module` with such a `forward` will do. What it does not
    declare is as here; `network_traits` is where the rest of the program asks.
    """

    channels: int = 3
    """C: 3 for RGB, 1 for Y; then its chroma is enlarged by bicubic interpolation."""
    scales: tuple[int, ...] = ()
    """The scales that it was built for; empty: it does not say."""
    min_size: int = 1
    """Smallest side of an input in pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) in [0, 1] -> (N, C, h·s, w·s)."""
        raise NotImplementedError  # the networks have it

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts a published implementation's state dict to ours; None where it does not know the names."""
        return None

    @staticmethod
    def infer(state: State) -> dict[str, Any] | None:
        """Reads constructor arguments from the shapes of a state dict in our names; None where they show nothing.

        Raises:
            KeyError: The names are another network's; other errors of arithmetic and shapes mean the same.
        """
        return None


class NetworkTraits(NamedTuple):
    """What the program has to know of a network in order to call it."""

    channels: int
    scales: tuple[int, ...]
    min_size: int


def network_traits(net: nn.Module) -> NetworkTraits:
    """What a network declares, and the defaults of `SRNetwork` for what it does not.

    A plain module may name its scale in an attribute `scale` instead of `scales`.
    """
    scales = getattr(net, "scales", SRNetwork.scales)
    if not isinstance(scales, Sequence):
        scales = (scales,)
    own = getattr(net, "scale", None)  # of many a network a learned factor
    if not scales and type(own) is int and own > 1:
        scales = (own,)
    channels = getattr(net, "channels", SRNetwork.channels)
    return NetworkTraits(channels=channels, scales=tuple(scales), min_size=min_size(net))


def min_size(module: nn.Module) -> int:
    """The smallest side of an image that a network or a discriminator takes; 1 where it declares none."""
    declared: int = getattr(module, "min_size", SRNetwork.min_size)
    return declared


def check_network(net: nn.Module) -> None:
    """Checks the parts of the contract that can be told without running the network.

    Raises:
        UserError: One line for each part that is missing or wrong, with the class's name.
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
        findings.append(f"{name}.min_size: found {traits.min_size!r}, allowed: pixels, 1 and more")
    if findings:
        raise UserError("\n".join(f"model: {finding}" for finding in findings))


def _takes(net: nn.Module, argument: str) -> bool:
    parameters = inspect.signature(type(net).forward).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
