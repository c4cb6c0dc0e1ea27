"""Loading of a network with its weights from a run, a checkpoint, or pretrained or third-party weights."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from sr_lightning.builders.identify_network import identify_network, nearest_network
from sr_lightning.builders.network import build_network
from sr_lightning.checkpoints.third_party import ThirdPartyNetwork, load_third_party
from sr_lightning.checkpoints.weights import WeightsFile
from sr_lightning.errors import UserError
from sr_lightning.exporters.onnx_network import OnnxNetwork
from sr_lightning.files import sha256
from sr_lightning.models.base import network_traits
from sr_lightning.weights.location import find_weights_file

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in evaluation mode, and its origin."""

    net: nn.Module
    label: str
    """Its class, or the name of the architecture in another project."""
    scales: tuple[int, ...]
    """Scales that it supports; empty if unknown."""
    file: Path
    training: dict[str, Any] = field(default_factory=dict)
    """Training config of one of our files; empty for any other file."""
    model: dict[str, Any] | None = None
    """Config section that builds the network; None if it is another project's, or exported."""

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return sha256(self.file)

    def choose_scale(self, asked: int | None) -> int:
        """Returns the requested scale, or the network's largest if None is requested.

        Raises:
            UserError: The network is for other scales, or its scales are unknown and None is requested.
        """
        if asked is None and self.scales:
            return max(self.scales)
        if asked is None or (self.scales and asked not in self.scales):
            can = "x" + ", x".join(map(str, self.scales)) if self.scales else "an unknown scale"
            raise UserError(f"scale: {f'found {asked}' if asked else 'must be given'}: {self.file} is for {can}")
        return asked


def load_network(checkpoint: str | Path, *, model: dict[str, Any] | None = None) -> LoadedNetwork:
    """Loads a network, without ever executing anything in a file.

    A given `model` takes precedence; otherwise the network is the one named in the file, the one of ours that its
    weights fit, or one recognised by spandrel. An ONNX file is run by onnxruntime.

    Args:
        checkpoint: File, run folder or name of pretrained weights; see `find_weights_file`.
        model: Config section `model`, for a file that does not contain one.

    Raises:
        UserError: The file cannot be read, does not identify its network, or does not fit it.
    """
    try:
        path = find_weights_file(str(checkpoint))
    except UserError as error:
        raise UserError(f"checkpoint: {error}") from None
    if path.suffix.lower() == ".onnx":
        exported = OnnxNetwork.load(path).eval()
        return LoadedNetwork(exported, exported.name, exported.scales, path)
    file = WeightsFile.read(path)
    stored = file.network_config if model is None else None
    section = model if stored is None else stored["model"]
    if section is None and (found := identify_network(file)) is not None:
        log.info("%s fits %s", checkpoint, found.overrides)
        section = found.model
    if section is None:
        net = _third_party(file).eval()
        name = net.name if isinstance(net, ThirdPartyNetwork) else path.stem
        return LoadedNetwork(net, name, network_traits(net).scales, path)
    net, training = build_network(section, weights=file).eval(), _training(file)
    return LoadedNetwork(net, type(net).__name__, _scales(net, training), path, training, section)


def _third_party(file: WeightsFile) -> nn.Module:
    """Loads another project's network; if none is recognised either, reports the mismatch with the nearest of ours."""
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
    """Returns the training config of one of our files; empty for other files, or if it is not plain data."""
    try:
        return file.config or {}
    except UserError:
        return {}


def _scales(net: nn.Module, training: dict[str, Any]) -> tuple[int, ...]:
    """Returns the scales a network was trained for if its file states plausible ones, else those it declares."""
    found = training.get("scale")
    listed = found if isinstance(found, list) else [found]
    scales = tuple(s for s in listed if type(s) is int and s > 1)
    can = network_traits(net).scales
    return scales if len(scales) == len(listed) and (not can or set(scales) <= set(can)) else can
