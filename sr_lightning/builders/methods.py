"""Construction of the networks to evaluate, from checkpoints or a model section, with unique labels."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sr_lightning.builders.load_network import load_network
from sr_lightning.builders.network import build_network
from sr_lightning.config.schema import BICUBIC, EvaluateConfig
from sr_lightning.errors import UserError
from sr_lightning.evaluation.method import NetworkMethod, network_method
from sr_lightning.models.base import network_traits


def build_methods(config: EvaluateConfig) -> list[NetworkMethod]:
    """Builds every network, with its weights.

    Args:
        config: The checked config.

    Raises:
        UserError: A file cannot be read, does not identify its network, or does not fit it.
    """
    if config.checkpoint:
        methods = [_from_checkpoint(path, label, config.model) for path, label in config.checkpoint.items()]
        methods = [_with_supported_scales(method, config.scale) for method in methods]
        if not all(config.checkpoint.values()):
            methods = _with_unique_labels(methods)
        return [replace(method, self_ensemble=config.self_ensemble, tile=config.tile) for method in methods]
    section = config.model
    if section is None or section["_target_"] == BICUBIC:
        return []  # bicubic is always included
    net = build_network(section).eval()
    if section.get("weights") is None and next(net.parameters(), None) is not None:
        raise UserError(
            f"model.weights: {type(net).__name__} would be evaluated with random weights; allowed: "
            "model.weights=<file>, or checkpoint=<file>"
        )
    method = network_method(type(net).__name__, net, network_traits(net).scales, section.get("weights"), {})
    method = _with_supported_scales(method, config.scale)
    return [replace(method, self_ensemble=config.self_ensemble, tile=config.tile)]


def _from_checkpoint(checkpoint: str, label: str, model: dict[str, Any] | None) -> NetworkMethod:
    network = load_network(checkpoint, model=model)
    return network_method(label or network.label, network.net, network.scales, checkpoint, network.training)


def _with_supported_scales(method: NetworkMethod, asked: Iterable[int]) -> NetworkMethod:
    """Keeps the scales that are both requested and supported."""
    asked = tuple(asked)
    scales = tuple(s for s in asked if not method.scales or s in method.scales) if asked else method.scales
    if not scales:
        found = f"found {list(asked)}, but" if asked else "must be given:"
        can = "x" + "/x".join(map(str, method.scales)) if method.scales else "an unknown scale"
        raise UserError(f"scale: {found} {method.checkpoint or method.label} is for {can}")
    return replace(method, scales=scales)


def _with_unique_labels(methods: list[NetworkMethod]) -> list[NetworkMethod]:
    """Makes labels unique by adding run names; checkpoints that differ only in the seed share a label."""
    groups = _seed_groups(methods)
    for longer in (_with_run, _with_file, _with_path):
        heads = [group[0] for group in groups]
        groups = [
            [replace(method, label=longer(head)) for method in group] if _clashes(head, heads) else group
            for head, group in zip(heads, groups, strict=True)
        ]
    return [replace(method, seeds=len(group)) for group in groups for method in group]


def _seed_groups(methods: list[NetworkMethod]) -> list[list[NetworkMethod]]:
    groups: dict[Any, list[NetworkMethod]] = {}
    for method in methods:
        key: Any = method.id if not method.config else json.dumps(_without_seed(method.config), sort_keys=True)
        groups.setdefault(key, []).append(method)
    parts: list[list[NetworkMethod]] = []
    for group in groups.values():
        # The best and the last checkpoint of a run have the same seed, but are two methods.
        parts += [group] if len({method.seed for method in group}) == len(group) else [[method] for method in group]
    return parts


def _without_seed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_seed(entry) for key, entry in value.items() if key != "seed"}
    return value


def _clashes(method: NetworkMethod, others: list[NetworkMethod]) -> bool:
    return any(
        method is not other and method.label == other.label and set(method.scales) & set(other.scales)
        for other in others
    )


def _with_run(method: NetworkMethod) -> str:
    """Returns a label such as `EDSR (2026-11-24_10-00-00)`, with the file name if it is not in a run folder."""
    path = Path(method.checkpoint or "")
    return f"{method.label} ({path.parent.parent.name if path.parent.name == 'checkpoints' else path.stem})"


def _with_file(method: NetworkMethod) -> str:
    return f"{method.label.removesuffix(')')}/{Path(method.checkpoint or '').stem})"


def _with_path(method: NetworkMethod) -> str:
    return f"{method.label.partition(' (')[0]} ({method.checkpoint})"
