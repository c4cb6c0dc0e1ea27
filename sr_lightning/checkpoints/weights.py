"""Weights files: read and checksummed once, loaded into a network all or nothing, written with the network's config."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from sr_lightning.checkpoints.matching import (
    Finding,
    candidate_states,
    check_finite,
    differences,
    keep_fresh_layers,
    setting_differences,
    without_prefixes,
)
from sr_lightning.checkpoints.network_config import check_config, network_section
from sr_lightning.checkpoints.plain_data import read_checkpoint
from sr_lightning.errors import UserError
from sr_lightning.files import replacing
from sr_lightning.inference.plausibility import PLAUSIBLE, lr_consistency, warn_if_implausible
from sr_lightning.models.base import network_traits

log = logging.getLogger(__name__)

FORMAT = 1
_CLEARLY = 3.0  # dB by which one interpretation of a file must be better than another
# Keys under which other projects store a network's weights, an average before the weights it was taken of. In our own
# checkpoints `state_dict` is the average, if there is one (`callbacks.ema`).
_CONTAINERS = ("params_ema", "g_ema", "state_dict", "params", "generator", "model_state_dict", "model")


@dataclass(frozen=True)
class WeightsFile:
    """Content of a weights file, ours or another project's; create it with `WeightsFile.read`."""

    path: Path
    weights: dict[str, Tensor]
    """Weights under the names in the file; the average, if the file also holds one."""
    note: Any
    """Metadata of one of our files, not yet checked; None for other files."""

    @classmethod
    def read(cls, path: Path) -> WeightsFile:
        """Reads a `.safetensors` file, one of our checkpoints, or another project's.

        Raises:
            UserError: The file cannot be read, is damaged, or contains no weights.
        """
        if _is_safetensors(path):
            weights, note = _read_safetensors(path)
        else:
            content = read_checkpoint(path)
            weights, note = _find_weights(content, path), content.get("sr_lightning")
        _check_tensors(weights, path)
        return cls(path, weights, note)

    @property
    def config(self) -> dict[str, Any] | None:
        """Training config of one of our files, as plain data; None for any other file.

        Raises:
            UserError: The file has another format version, or its config is not a tree of plain values.
        """
        config = self.note.get("config") if isinstance(self.note, dict) else None
        if not isinstance(config, dict) or "model" not in config:
            return None
        if self.note.get("format") != FORMAT:
            raise UserError(f"{self.path}: has the format {self.note.get('format')!r}, allowed: {FORMAT}")
        check_config(config, self.path)
        return config

    @property
    def network_config(self) -> dict[str, Any] | None:
        """Config that rebuilds the network of one of our files: `model` and `scale` (a list); None for any other file.

        Raises:
            UserError: The file has another format version, or names something other than one of our networks.
        """
        config = self.config
        return None if config is None else network_section(config, self.path, self.weights)


def load_weights(
    net: nn.Module,
    file: WeightsFile | Path,
    *,
    fresh: Sequence[str] = (),
    suggest: Callable[[WeightsFile], str | None] | None = None,
) -> None:
    """Loads weights into a network: all of them or none.

    The file's names are tried as they are, without wrapper prefixes, and through the network's `from_official`.

    Args:
        net: The network, modified in place.
        file: The weights, or the path of their file.
        fresh: Layers (`tail`, `body.3`) that keep the network's own values, whatever the file has: those that depend on
            the scale, when training starts from another scale's network (Lim et al. 2017, section 3.2).
        suggest: Returns a config that the file would fit; called if it does not fit this one.

    Raises:
        UserError: Names or shapes differ, or an argument of the network that the file determines; the message names the
            first of each kind.
    """
    if isinstance(file, Path):
        file = WeightsFile.read(file)
    found: list[tuple[int, int, list[Finding]]] = []
    try:
        for state in without_prefixes(file.weights):
            for candidate in candidate_states(net, state):
                weights = keep_fresh_layers(net, candidate.state, fresh)
                findings = differences(net, weights) or setting_differences(net, candidate.settings)
                if not findings:
                    check_finite(weights)
                    others = [keep_fresh_layers(net, other, fresh) for other in candidate.alternatives]
                    _load_most_plausible(net, [weights, *others], file, judge=not fresh)
                    return
                left = len(file.weights) - len(weights)
                found.append((left + sum(len(finding.names) for finding in findings), left, findings))
    except UserError as error:
        raise UserError(f"model.weights: {file.path}: {error}") from None
    nearest = min(reversed(found), key=lambda entry: entry[:2])[2]
    message = [f"model.weights: {file.path} does not fit {type(net).__name__}", *map(str, nearest)]
    parts = {name.split(".")[0] for finding in nearest for name in finding.names}
    if len(parts) == 1 and parts <= {name.split(".")[0] for name in net.state_dict()}:
        message.append(f"all else fits: train with model.fresh=[{parts.pop()}] lets this part start anew")
    if suggest is not None and (suggestion := suggest(file)) is not None:
        message.append(suggestion)
    raise UserError("\n  ".join(message))


def _load_most_plausible(
    net: nn.Module, states: Sequence[dict[str, Tensor]], file: WeightsFile, *, judge: bool
) -> None:
    """Loads the state whose output agrees best with the input; the first if none does."""
    net.load_state_dict(states[0])
    scales = network_traits(net).scales
    if file.note is not None or not judge or not scales:
        return  # our files record how they were trained; fresh layers make no image yet
    found = []
    for state in states:
        net.load_state_dict(state)
        found.append(lr_consistency(net, scales[0]))
    best = 0
    if len(states) > 1:
        best = found.index(max(found)) if max(found) >= max(PLAUSIBLE, found[0] + _CLEARLY) else 0
        told = f"{file.path}: read as weights for values from 0 to {1 if best else 255}"
        if best or max(found[1:]) < found[0] - _CLEARLY:
            log.info("%s: its output then agrees with its input by %.1f dB", told, found[best])
        else:
            log.warning("%s, as published; the weights themselves do not tell these from values from 0 to 1", told)
    net.load_state_dict(states[best])
    warn_if_implausible(found[best], file.path)


def write_weights(
    path: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes weights as `.safetensors`, with the config that rebuilds their network.

    Args:
        path: The file.
        weights: As returned by `net.state_dict()`.
        config: Plain data with at least `model` and `scale`, as in `WeightsFile.network_config`.
        metadata: Further text entries for the file's header.
    """
    saved = json.dumps({"format": FORMAT, "config": config})
    tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
    with replacing(path) as part:
        part.write_bytes(safetensors.torch.save(tensors, metadata={"sr_lightning": saved, **(metadata or {})}))


def _find_weights(content: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    state = content
    for _ in range(3):  # no file nests deeper, and a hostile one may contain itself
        state = next((state[name] for name in _CONTAINERS if isinstance(state.get(name), Mapping)), state)
    weights = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    others = [value for value in state.values() if not isinstance(value, Tensor | int | float | str | None)]
    if not weights or others:
        found = ", ".join(str(key) for key in list(state)[:5]) or "nothing"
        raise UserError(f"{path}: found the keys {found}, allowed: a checkpoint or a dict of weights")
    return weights


def _check_tensors(weights: Mapping[str, Tensor], path: Path) -> None:
    """Raises UserError for tensors without their own values: sparse, meta, or a few numbers repeated by strides."""
    for name, value in weights.items():
        if value.layout != torch.strided or value.is_meta or value.is_nested:
            kind = "meta" if value.is_meta else str(value.layout).removeprefix("torch.")
            raise UserError(f"{path}: {name} is a {kind} tensor, allowed: dense tensors with their values")
        if value.nbytes > value.untyped_storage().nbytes():
            raise UserError(
                f"{path}: {name} {tuple(value.shape)} repeats {value.untyped_storage().nbytes():,} stored bytes, "
                f"allowed: all {value.nbytes:,}"
            )


def _is_safetensors(path: Path) -> bool:
    """Detects the format by content, whatever the name: eight bytes of length, then JSON."""
    if not path.is_file():
        return path.suffix == ".safetensors"
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{" or path.suffix == ".safetensors"


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            note = json.loads((file.metadata() or {}).get("sr_lightning", "null"))
            return {name: file.get_tensor(name) for name in file.keys()}, note  # noqa: SIM118  # no iterator
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError, KeyError) as error:
        raise UserError(f"{path}: cannot be read as safetensors: {error}") from None
