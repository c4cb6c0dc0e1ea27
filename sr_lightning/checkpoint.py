"""The one door through which weights come in and go out. Nothing in a file is ever executed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from sr_lightning.errors import UserError

FORMAT = 1
_PREFIX = "net."  # how the LightningModule names the network's weights


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes beside the final name, flushes to the disk and renames; reads plain data only.

    Lightning stages in `$TMPDIR`, so its save tears when that is another file system, and it leaves
    `weights_only` to an environment variable.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Atomic on the file system of `path`."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # else the rename itself may not survive a power loss
        finally:
            os.close(folder)

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Reads with `weights_only=True`, always."""
        return read_checkpoint(Path(path), map_location=map_location or "cpu")


def read_checkpoint(path: Path, *, map_location: Any = "cpu") -> dict[str, Any]:
    """The plain content of a checkpoint file.

    Raises:
        UserError: The file is damaged, or holds more than plain data.
    """
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: cannot be read as a checkpoint of plain data: {reason}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, allowed: a checkpoint or a dict of weights")
    return content


def read_config(path: Path) -> dict[str, Any] | None:
    """The resolved config stored in one of our checkpoints; None in any other file."""
    if path.suffix == ".safetensors":
        return None
    stored = read_checkpoint(path).get("sr_lightning")
    return stored.get("config") or None if isinstance(stored, dict) else None


def read_weights(path: Path) -> dict[str, Tensor]:
    """The network's weights in one of our checkpoints, a `.safetensors` file or a plain state dict.

    Raises:
        UserError: The file cannot be read or holds no weights.
    """
    if path.suffix == ".safetensors":
        try:
            return dict(safetensors.torch.load_file(path))
        except (safetensors.SafetensorError, OSError) as error:
            raise UserError(f"{path}: cannot be read as safetensors: {error}") from None
    content: Mapping[str, Any] = read_checkpoint(path)
    state = content.get("state_dict", content)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(
            f"{path}: found the keys {', '.join(list(content)[:5])}, allowed: a checkpoint or a dict of weights"
        )
    own = {key.removeprefix(_PREFIX): value for key, value in state.items() if key.startswith(_PREFIX)}
    return own or state


def load_weights(net: nn.Module, path: Path) -> None:
    """Puts weights into a network: all of them or none.

    Raises:
        UserError: Names or shapes differ; the message names the first of each kind.
    """
    weights, expected = read_weights(path), net.state_dict()
    missing = [key for key in expected if key not in weights]
    unexpected = [key for key in weights if key not in expected]
    shapes = [
        f"{key} {tuple(weights[key].shape)}, the network has {tuple(value.shape)}"
        for key, value in expected.items()
        if key in weights and weights[key].shape != value.shape
    ]
    findings = [
        f"{what} ({len(names)}): {'; '.join(names[:3])}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("other shape", shapes))
        if names
    ]
    if findings:
        raise UserError(f"model.weights: {path} does not fit {type(net).__name__}\n  " + "\n  ".join(findings))
    net.load_state_dict(weights)
