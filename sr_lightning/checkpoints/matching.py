"""Whether weights fit a network: under which names, in which shapes, and made with which settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sr_lightning.errors import UserError

# What stands before a network's names: our module's, and what others' modules and wrappers put there.
_PREFIXES = ("net.", "net_g.", "generator.", "model.", "module.", "_orig_mod.")


@dataclass(frozen=True)
class Finding:
    """One kind of what keeps weights from fitting."""

    what: str
    names: list[str]

    def __str__(self) -> str:
        return f"{self.what} ({len(self.names)}): {'; '.join(self.names[:3])}"


def unwrapped(state: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """A state, and each part of it that a wrapper's prefix marks, without the prefix.

    So a module's discriminator, or its loss's weights, are left. Which part is meant the network decides: it must
    fit name by name.
    """
    yield state
    for prefix in _PREFIXES:
        part = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if part:
            yield from unwrapped(part)


def readings(
    net: nn.Module | type[nn.Module], state: dict[str, Tensor]
) -> Iterator[tuple[dict[str, Tensor], dict[str, Any]]]:
    """A state in its own names; and where the network knows them as another project's, in ours.

    Yields:
        The state, and arguments of the network that it was made with.

    Raises:
        UserError: The network knows the names, but not what is done there.
    """
    yield state, {}
    convert = getattr(net, "from_official", None)
    if convert is None:
        return
    try:
        official = convert(state)
    except (KeyError, IndexError, ValueError, ArithmeticError, RuntimeError):
        return  # some of the names are known, but parts or shapes are not what belongs to them
    if official is not None:
        yield official


def kept_fresh(net: nn.Module, weights: Mapping[str, Tensor], fresh: Sequence[str]) -> dict[str, Tensor]:
    """The weights, but what belongs to the parts named in `fresh` as it is in the network.

    Raises:
        UserError: A name that is no part of the network.
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
    """What keeps weights from fitting a network; empty if they fit."""
    expected = net.state_dict()
    missing = [key for key in expected if key not in weights]
    unexpected = [key for key in weights if key not in expected]
    shapes = [
        f"{key} {tuple(weights[key].shape)}, the network has {tuple(value.shape)}"
        for key, value in expected.items()
        if key in weights and weights[key].shape != value.shape
    ]
    found = (Finding("missing", missing), Finding("unexpected", unexpected), Finding("other shape", shapes))
    return [finding for finding in found if finding.names]


def other_settings(net: nn.Module, settings: Mapping[str, Any]) -> list[Finding]:
    """Arguments with which the file was made and the network was not."""
    found = []
    for name, value in settings.items():
        own = torch.as_tensor(getattr(net, name)).flatten().double().cpu()
        if not torch.allclose(own, torch.tensor(value, dtype=torch.float64), rtol=0, atol=1e-5):
            found.append(f"model.{name}={value}, the network has {[round(v, 6) for v in own.tolist()]}")
    return [Finding("made with other settings", found)] if found else []
