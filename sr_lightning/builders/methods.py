"""What an evaluation compares: networks from checkpoints, with names that a table can tell apart."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from sr_lightning.builders.identify_network import identify_network, nearest_network
from sr_lightning.builders.network import build_network
from sr_lightning.checkpoints.third_party import ThirdPartyNetwork, load_third_party
from sr_lightning.checkpoints.weights import WeightsFile
from sr_lightning.config.schema import BICUBIC, EvaluateConfig
from sr_lightning.errors import UserError
from sr_lightning.evaluation.method import Method
from sr_lightning.models.base import network_traits
from sr_lightning.weights.pretrained import find_pretrained

log = logging.getLogger(__name__)


def build_methods(config: EvaluateConfig) -> list[Method]:
    """Builds every network, with its weights.

    Args:
        config: Checked.

    Raises:
        UserError: A file cannot be read, does not say how to build its network, or does not fit it.
    """
    if config.checkpoint:
        methods = [_from_checkpoint(path, label, config.model) for path, label in config.checkpoint.items()]
        methods = [_bounded(method, config.scale) for method in methods]
        return methods if all(config.checkpoint.values()) else _told_apart(methods)
    section = config.model
    if section is None or section["_target_"] == BICUBIC:
        return []  # bicubic is there anyway
    net = build_network(section).eval()
    if section.get("weights") is None and any(True for _ in net.parameters()):
        raise UserError(
            f"model.weights: {type(net).__name__} would be evaluated with random weights; allowed: "
            "model.weights=<file>, or checkpoint=<file>"
        )
    return [_bounded(Method(type(net).__name__, net, _scales(net, {}), section.get("weights"), {}), config.scale)]


def _from_checkpoint(checkpoint: str, label: str, typed: dict[str, Any] | None) -> Method:
    """A typed model is taken at its word; else the file's own, one of ours that fits, or spandrel's guess."""
    file = WeightsFile.read(find_pretrained(checkpoint))
    stored = file.network_config if typed is None else None
    section = typed if stored is None else stored["model"]
    if section is None and (found := identify_network(file)) is not None:
        log.info("%s fits %s", checkpoint, found.overrides)
        section = found.model
    if section is None:
        net = _third_party(file).eval()
        name = net.name if isinstance(net, ThirdPartyNetwork) else file.path.stem
        return Method(label or name, net, _scales(net, {}), checkpoint, {})
    net = build_network(section, weights=file).eval()
    training = _training(file)
    return Method(label or type(net).__name__, net, _scales(net, training), checkpoint, training)


def _third_party(file: WeightsFile) -> nn.Module:
    """Another project's network; a file that is none of theirs either is compared with the nearest of ours."""
    try:
        return load_third_party(file)
    except UserError as error:
        if (near := nearest_network(file)) is None:
            raise
        try:
            return build_network(near.model, weights=file)
        except UserError as differing:
            raise UserError(f"{error}\nof ours {near.overrides} is nearest:\n{differing}") from None


def _training(file: WeightsFile) -> dict[str, Any]:
    """The config that one of our files was trained with; empty for any other, and for one in another format."""
    try:
        return file.config or {}
    except UserError:
        return {}


def _scales(net: nn.Module, config: dict[str, Any]) -> tuple[int, ...]:
    found = config.get("scale") or network_traits(net).scales
    return (found,) if isinstance(found, int) else tuple(int(scale) for scale in found)


def _bounded(method: Method, asked: Iterable[int]) -> Method:
    """With the scales that are asked for and that it can do."""
    asked = tuple(asked)
    scales = tuple(s for s in asked if not method.scales or s in method.scales) if asked else method.scales
    if not scales:
        found = f"found {list(asked)}, but" if asked else "must be given:"
        can = "x" + "/x".join(map(str, method.scales)) if method.scales else "an unknown scale"
        raise UserError(f"scale: {found} {method.checkpoint or method.label} is for {can}")
    return replace(method, scales=scales)


def _told_apart(methods: list[Method]) -> list[Method]:
    """Checkpoints that differ only in the seed share a label; others of one network get the names of their runs."""
    groups = _seed_groups(methods)
    for longer in (_with_run, _with_file, _with_path):
        heads = [group[0] for group in groups]
        groups = [
            [replace(method, label=longer(head)) for method in group] if _clashes(head, heads) else group
            for head, group in zip(heads, groups, strict=True)
        ]
    return [replace(method, seeds=len(group)) for group in groups for method in group]


def _seed_groups(methods: list[Method]) -> list[list[Method]]:
    groups: dict[str, list[Method]] = {}
    for method in methods:
        key = method.name if not method.config else json.dumps(_without_seed(method.config), sort_keys=True)
        groups.setdefault(key, []).append(method)
    parts: list[list[Method]] = []
    for group in groups.values():
        # The best and the last checkpoint of one run have the same seed: they are two methods.
        parts += [group] if len({method.seed for method in group}) == len(group) else [[method] for method in group]
    return parts


def _without_seed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_seed(entry) for key, entry in value.items() if key != "seed"}
    return value


def _clashes(method: Method, others: list[Method]) -> bool:
    return any(
        method is not other and method.label == other.label and set(method.scales) & set(other.scales)
        for other in others
    )


def _with_run(method: Method) -> str:
    """`EDSR (2026-11-24_10-00-00)`, or the file's name where it does not lie in a run's folder."""
    path = Path(method.checkpoint or "")
    return f"{method.label} ({path.parent.parent.name if path.parent.name == 'checkpoints' else path.stem})"


def _with_file(method: Method) -> str:
    return f"{method.label.removesuffix(')')}/{Path(method.checkpoint or '').stem})"


def _with_path(method: Method) -> str:
    return f"{method.label.partition(' (')[0]} ({method.checkpoint})"
