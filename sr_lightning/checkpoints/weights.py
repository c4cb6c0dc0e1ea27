"""The one door through which weights come in and go out. Nothing in a file is ever executed."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from sr_lightning import models
from sr_lightning.checkpoints.integrity import SEALED, DamagedError, read_seal
from sr_lightning.checkpoints.matching import Finding, differences, kept_fresh, other_settings, readings, unwrapped
from sr_lightning.errors import UserError
from sr_lightning.files import replacing

FORMAT = 1
# Keys of the section `model` that are not arguments of the network.
BESIDE_THE_NETWORK = ("weights", "fresh", "adam_lr")
# Where others keep a network's weights in their files; an average before the weights it was taken of. In our
# own checkpoints `state_dict` is the average, where there is one (`callbacks.ema`).
_CONTAINERS = ("params_ema", "g_ema", "state_dict", "params", "generator", "model_state_dict", "model")


def read_checkpoint(path: Path, *, map_location: Any = "cpu") -> dict[str, Any]:
    """The plain content of a checkpoint file.

    Raises:
        UserError: The file is damaged, or holds more than plain data.
    """
    try:
        read_seal(path)
        content = torch.load(path, map_location=map_location, weights_only=True)
    except DamagedError:
        raise
    except Exception as error:
        raise UserError(f"{path}: cannot be read as a checkpoint of plain data: {_reason(path, error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, allowed: a checkpoint or a dict of weights")
    content.pop(SEALED, None)  # the seal's own business
    return content


def _reason(path: Path, error: Exception) -> str:
    """What is wrong with the file; torch's own advice is to switch the protection off."""
    if not path.is_file() or isinstance(error, PermissionError):
        return str(error)
    with path.open("rb") as file:
        beginning = file.read(64).lstrip()
    if not beginning:
        return "the file is empty"
    if beginning[:1] == b"<":
        return "it is a web page; allowed: the file that the page offers"
    if beginning.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; allowed: the file that it points to (git lfs pull)"
    if isinstance(error, pickle.UnpicklingError):
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it holds {found[1]}" if found else "it holds more than tensors, numbers and texts, or is damaged"
        return f"{what}, and nothing in a file is executed here; allowed: the state dict, saved anew by its own project"
    return f"it is damaged, or no file of weights ({(str(error).splitlines() or [type(error).__name__])[0]})"


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights in a `.safetensors` file, one of our checkpoints, or another's, as they are named there.

    Where a file holds an average of the weights beside them, the average is taken.

    Raises:
        UserError: The file cannot be read or holds no weights.
    """
    if _is_safetensors(path):
        try:
            return dict(safetensors.torch.load_file(path))
        except (safetensors.SafetensorError, OSError) as error:
            raise UserError(f"{path}: cannot be read as safetensors: {error}") from None
    state: Mapping[Any, Any] = read_checkpoint(path)
    for _ in range(3):  # no file nests deeper, and a hostile one may hold itself
        state = next((state[name] for name in _CONTAINERS if isinstance(state.get(name), Mapping)), state)
    weights = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    others = [value for value in state.values() if not isinstance(value, Tensor | int | float | str | None)]
    if not weights or others:
        found = ", ".join(str(key) for key in list(state)[:5]) or "nothing"
        raise UserError(f"{path}: found the keys {found}, allowed: a checkpoint or a dict of weights")
    return weights


def _is_safetensors(path: Path) -> bool:
    """By content, whatever the name says: eight bytes of length, then JSON."""
    if not path.is_file():
        return path.suffix == ".safetensors"
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{" or path.suffix == ".safetensors"


def load_weights(
    net: nn.Module, path: Path, *, fresh: Sequence[str] = (), advise: Callable[[Path], str | None] | None = None
) -> None:
    """Puts weights into a network: all of them or none.

    The file's names are tried as they are, without wrappers' prefixes, and through the network's `from_official`.

    Args:
        net: Changed in place.
        path: See `read_weights`.
        fresh: Beginnings of names (`tail`, `body.3`) that keep what they are in the network, whatever the file has
            there: the layers that depend on the scale, when a network starts from another scale's (Lim et al. 2017,
            section 3.2).
        advise: Says which config the file would fit; asked where it does not fit this one.

    Raises:
        UserError: Names or shapes differ, or an argument of the network that the file decides; the message names
            the first of each kind.
    """
    content = read_weights(path)
    found: list[tuple[int, int, list[Finding]]] = []
    try:
        for weights, settings in (reading for state in unwrapped(content) for reading in readings(net, state)):
            weights = kept_fresh(net, weights, fresh)
            findings = differences(net, weights) or other_settings(net, settings)
            if not findings:
                net.load_state_dict(weights)
                return
            left = len(content) - len(weights)
            found.append((left + sum(len(finding.names) for finding in findings), left, findings))
    except UserError as error:
        raise UserError(f"model.weights: {path}: {error}") from None
    nearest = min(reversed(found), key=lambda entry: entry[:2])[2]
    message = [f"model.weights: {path} does not fit {type(net).__name__}", *map(str, nearest)]
    parts = {name.split(".")[0] for finding in nearest for name in finding.names}
    if len(parts) == 1 and parts <= {name.split(".")[0] for name in net.state_dict()}:
        message.append(f"all else fits: train with model.fresh=[{parts.pop()}] lets this part start anew")
    if advise is not None and (advice := advise(path)) is not None:
        message.append(advice)
    raise UserError("\n  ".join(message))


def write_weights(path: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Writes weights as `.safetensors`, with what builds their network again.

    Args:
        path: The file.
        weights: As `net.state_dict()`.
        config: Plain data; `model` and `scale` at least, as `read_config` gives them.
    """
    saved = json.dumps({"format": FORMAT, "config": config})
    tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
    with replacing(path) as part:
        part.write_bytes(safetensors.torch.save(tensors, metadata={"sr_lightning": saved}))


def saved_config(path: Path) -> dict[str, Any] | None:
    """The config that one of our files was trained with, as plain data; None for any other file of weights.

    Raises:
        UserError: The file cannot be read, or was written by another version of the project.
    """
    saved = _safetensors_note(path) if _is_safetensors(path) else read_checkpoint(path).get("sr_lightning")
    config = saved.get("config") if isinstance(saved, dict) else None
    if not isinstance(saved, dict) or not isinstance(config, dict) or "model" not in config:
        return None
    if saved.get("format") != FORMAT:
        raise UserError(f"{path}: has the format {saved.get('format')!r}, allowed: {FORMAT}")
    return config


def _safetensors_note(path: Path) -> Any:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get("sr_lightning", "null"))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as safetensors: {error}") from None


def read_config(path: Path) -> dict[str, Any] | None:
    """What is needed to build the network of one of our files again, as plain data.

    Returns:
        `model` (a section without `weights`) and `scale` (a list), or None for any other file of weights.

    Raises:
        UserError: The file cannot be read, or asks for something else than one of our networks.
    """
    config = saved_config(path)
    if config is None:
        return None
    check_own_network(config["model"], path)
    model = {key: value for key, value in config["model"].items() if key not in BESIDE_THE_NETWORK}
    scale = config.get("scale")
    scales = scale if isinstance(scale, list) else [scale]
    if not scales or any(type(s) is not int for s in scales):
        raise UserError(f"{path}: was saved with the scale {scale!r}, allowed: whole numbers")
    return {"model": model, "scale": scales}


def check_own_network(section: Any, path: Path) -> None:
    """A file may name a network of `sr_lightning.models` and its arguments, and nothing else that could be run.

    Args:
        section: What the file calls `model`.
        path: The file, for the message.

    Raises:
        UserError: The class is another, or an argument is more than plain data.
    """
    target = section.get("_target_") if isinstance(section, dict) else section
    if not isinstance(target, str) or target not in {f"{models.__name__}.{name}" for name in models.__all__}:
        raise UserError(
            f"{path}: was saved with the network {target!r}; a file may only name one of sr_lightning.models. "
            "If you trust that class, repeat it on the command line: model._target_=… and its arguments"
        )
    if (bad := _not_plain({key: value for key, value in section.items() if key != "_target_"})) is not None:
        raise UserError(f"{path}: the argument {bad} of its network is no plain value")


def _not_plain(value: Any) -> str | None:
    """The first part that is more than data: an object, a key of Hydra's, an interpolation; None if there is none."""
    parts: list[Any] = []
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or key.startswith("_") or "${" in key:
                return repr(key)
        parts = list(value.values())
    elif isinstance(value, list):
        parts = value
    elif isinstance(value, str):
        return repr(value) if "${" in value else None
    elif value is not None and not isinstance(value, bool | int | float):
        return type(value).__name__
    return next((bad for part in parts if (bad := _not_plain(part)) is not None), None)
