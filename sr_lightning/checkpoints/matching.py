"""Matching of state dicts to networks: wrapper prefixes, published names, shapes and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sr_lightning.errors import UserError
from sr_lightning.models.base import SRNetwork
from sr_lightning.models.conversion import Official
from sr_lightning.text import enumerated

# Prefixes of a network's names in our module, and in other projects' modules and wrappers.
_PREFIXES = ("net.", "net_g.", "generator.", "model.", "module.", "_orig_mod.")


@dataclass(frozen=True)
class Finding:
    """One kind of mismatch between weights and a network."""

    what: str
    names: list[str]

    def __str__(self) -> str:
        return f"{self.what} ({len(self.names)}): {'; '.join(self.names[:3])}"


def without_prefixes(state: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Yields a state dict, and each part of it under a wrapper's prefix, without the prefix.

    This leaves behind a module's discriminator and the weights of its loss. The network determines which part is meant:
    all names have to match.
    """
    yield state
    for prefix in _PREFIXES:
        part = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if part:
            yield from without_prefixes(part)


def candidate_states(net: nn.Module | type[nn.Module], state: dict[str, Tensor]) -> Iterator[Official]:
    """Yields a state dict under its own names and, if the network recognises a published implementation, under ours.

    Yields:
        Each state dict with the constructor arguments of the network that produced it.

    Raises:
        UserError: The names are known, but the architecture differs from the network's.
    """
    yield Official(state, {})
    network = net if isinstance(net, type) else type(net)
    if not issubclass(network, SRNetwork):
        return
    try:
        official = network.from_official(state)
    except (KeyError, IndexError, ValueError, ArithmeticError, RuntimeError):
        return  # only some of the names are known, or shapes differ
    if official is not None:
        yield official


def keep_fresh_layers(net: nn.Module, weights: Mapping[str, Tensor], fresh: Sequence[str]) -> dict[str, Tensor]:
    """Returns the weights, with the layers named in `fresh` taken from the network instead.

    Raises:
        UserError: A name in `fresh` is not a layer of the network.
    """
    own = net.state_dict()
    for part in fresh:
        if not any(_belongs(name, part) for name in own):
            parts = dict.fromkeys(name.split(".")[0] for name in own)
            raise UserError(f"model.fresh: found {part!r}, {type(net).__name__} has {', '.join(parts)}")
    kept = {name: value for name, value in weights.items() if not any(_belongs(name, part) for part in fresh)}
    return kept | {name: value for name, value in own.items() if any(_belongs(name, part) for part in fresh)}


def _belongs(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def differences(net: nn.Module, weights: Mapping[str, Tensor]) -> list[Finding]:
    """Returns mismatches of names, shapes and number types between weights and a network; empty if they fit.

    Precisions of the same type are converted when weights are loaded; integers, as in quantised files, would silently
    be cast to different weights.
    """
    expected = net.state_dict()
    missing = [key for key in expected if key not in weights]
    unexpected = [key for key in weights if key not in expected]
    shapes = [
        f"{key} {tuple(weights[key].shape)}, the network has {tuple(value.shape)}"
        for key, value in expected.items()
        if key in weights and weights[key].shape != value.shape
    ]
    found = (Finding("missing", missing), Finding("unexpected", unexpected), Finding("other shape", shapes))
    return [finding for finding in found if finding.names] + kind_differences(net, weights)


def kind_differences(net: nn.Module, weights: Mapping[str, Tensor]) -> list[Finding]:
    """Returns weights that are not floating-point where the network's are, or vice versa.

    8-bit floats count as a separate type: they are only half of a quantised weight, whose scale is stored elsewhere.
    """
    kinds = [
        f"{key} {_dtype(weights[key])}, the network has {_dtype(value)}"
        for key, value in net.state_dict().items()
        if key in weights and _kind(weights[key]) != _kind(value)
    ]
    return [Finding("numbers of another kind", kinds)] if kinds else []


def _kind(value: Tensor) -> str:
    if value.is_complex():
        return "complex"
    if value.is_floating_point() and value.element_size() == 1:
        return "8-bit float"
    return "float" if value.is_floating_point() else "bool" if value.dtype == torch.bool else "integer"


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def check_finite(weights: Mapping[str, Tensor]) -> None:
    """Raises UserError if weights contain NaN or infinity, as after a training that diverged."""
    names = [key for key, value in weights.items() if not value.isfinite().all()]
    if names:
        raise UserError(
            f"holds weights that are not finite ({len(names)}): {enumerated(names, most=3)}; allowed: finite numbers. "
            "A training that diverged leaves such a file: an earlier checkpoint may be whole"
        )


def setting_differences(net: nn.Module, settings: Mapping[str, Any]) -> list[Finding]:
    """Returns constructor arguments that the file determines and for which the network has other values."""
    found = []
    for name, value in settings.items():
        own = torch.as_tensor(getattr(net, name)).flatten().double().cpu()
        if not torch.allclose(own, torch.tensor(value, dtype=torch.float64), rtol=0, atol=1e-5):
            found.append(f"model.{name}={value}, the network has {[round(v, 6) for v in own.tolist()]}")
    return [Finding("made with other settings", found)] if found else []
