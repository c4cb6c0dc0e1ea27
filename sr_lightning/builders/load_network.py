"""A network ready for use from whatever names it: pretrained weights, a run's checkpoint, weights of others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sr_lightning.builders.methods import _from_checkpoint
from sr_lightning.errors import UserError
from sr_lightning.files import sha256
from sr_lightning.weights.pretrained import pretrained_names, weights_location


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in evaluation mode, and where it comes from."""

    net: nn.Module
    label: str
    """Its class, or the architecture that another project calls it."""
    scales: tuple[int, ...]
    file: Path

    @property
    def sha256(self) -> str:
        """Of the file."""
        return sha256(self.file)

    def chosen_scale(self, asked: int | None) -> int:
        """The scale that is asked for, or the network's only one, or the largest.

        Raises:
            UserError: The network is made for others.
        """
        if asked is None and self.scales:
            return max(self.scales)
        if asked is None or (self.scales and asked not in self.scales):
            can = "x" + ", x".join(map(str, self.scales)) if self.scales else "an unknown scale"
            raise UserError(f"scale: found {asked}, but {self.file} is for {can}")
        return asked


def load_network(checkpoint: str, *, model: dict[str, Any] | None = None) -> LoadedNetwork:
    """Loads a network.

    Args:
        checkpoint: A file, a run's folder, or the name of pretrained weights.
        model: The config's section for a file that does not say how to build its network.

    Raises:
        UserError: The file cannot be read, does not say how to build its network, or does not fit it.
    """
    file = weights_location(checkpoint)
    if file is None:
        raise UserError(
            f"checkpoint: {checkpoint} is not there; allowed: a checkpoint, a run's folder, or one of "
            f"{', '.join(pretrained_names())}"
        )
    if file.suffix.lower() == ".onnx":  # the place where an exported network comes in
        raise UserError(f"checkpoint: {file} is an ONNX file; allowed: the checkpoint that it was exported from")
    method = _from_checkpoint(str(file), "", model)
    return LoadedNetwork(method.net, method.label, method.scales, file)
