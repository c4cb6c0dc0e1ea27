"""The one door through which weights come in and go out. Nothing in a file is ever executed."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from sr_lightning import models
from sr_lightning.errors import UserError

FORMAT = 1
# Where others keep a network's weights in their files; an average before the weights it was taken of. In our
# own checkpoints `state_dict` is the average, where there is one (`callbacks.ema`).
_CONTAINERS = ("params_ema", "g_ema", "state_dict", "params", "generator", "model_state_dict", "model")
# What is put before the names: our module, and others' modules and wrappers.
_WRAPPERS = ("net.", "net_g.", "generator.", "model.", "module.", "_orig_mod.")


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
        raise UserError(f"{path}: cannot be read as a checkpoint of plain data: {_reason(path, error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, allowed: a checkpoint or a dict of weights")
    return content


def _reason(path: Path, error: Exception) -> str:
    """What is wrong with the file; torch's own advice is to switch the protection off."""
    if isinstance(error, OSError) or not path.is_file():
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
    """The network's weights in a `.safetensors` file, one of our checkpoints, or another's, as they are named there.

    Where a file holds an average of the weights beside them, the average is taken. Of a Lightning module's parts
    the network is taken: ours is named `net`; loss and discriminator are left.

    Raises:
        UserError: The file cannot be read or holds no weights.
    """
    if _is_safetensors(path):
        try:
            return dict(safetensors.torch.load_file(path))
        except (safetensors.SafetensorError, OSError) as error:
            raise UserError(f"{path}: cannot be read as safetensors: {error}") from None
    content = read_checkpoint(path)
    state: Mapping[Any, Any] = content
    while inner := next((state[name] for name in _CONTAINERS if isinstance(state.get(name), Mapping)), None):
        state = inner
    weights = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    others = [value for value in state.values() if not isinstance(value, Tensor | int | float | str | None)]
    if not weights or others:
        found = ", ".join(str(key) for key in list(state)[:5]) or "nothing"
        raise UserError(f"{path}: found the keys {found}, allowed: a checkpoint or a dict of weights")
    if state is not content:  # a plain dict is one network's; a module's has its parts
        for prefix in ("net.", "net_g.", "generator."):
            part = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
            if part:
                return part
    return weights


def _is_safetensors(path: Path) -> bool:
    """By content, whatever the name says: eight bytes of length, then JSON."""
    if not path.is_file():
        return path.suffix == ".safetensors"
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{" or path.suffix == ".safetensors"


def unwrapped(state: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """A state, and the same without each of the wrappers' prefixes that all its names share."""
    yield state
    while prefix := next((p for p in _WRAPPERS if all(key.startswith(p) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
        yield state


def load_weights(net: nn.Module, path: Path, *, advise: Callable[[Path], str | None] | None = None) -> None:
    """Puts weights into a network: all of them or none.

    The file's names are tried as they are, without wrappers' prefixes, and through the network's `from_official`.

    Args:
        net: Changed in place.
        path: See `read_weights`.
        advise: Says which config the file would fit; asked where it does not fit this one.

    Raises:
        UserError: Names or shapes differ, or an argument of the network that the file decides; the message names
            the first of each kind.
    """
    found: list[list[str]] = []
    states = unwrapped(read_weights(path))
    try:
        for state in states:
            for weights, settings in readings(net, state):
                findings = differences(net, weights) or _other_settings(net, settings)
                if not findings:
                    net.load_state_dict(weights)
                    return
                found.append(findings)
    except UserError as error:
        raise UserError(f"model.weights: {path}: {error}") from None
    advice = advise(path) if advise else None
    message = [f"model.weights: {path} does not fit {type(net).__name__}", *min(reversed(found), key=_size)]
    raise UserError("\n  ".join([*message, advice] if advice else message))


def readings(
    net: nn.Module | type[nn.Module], state: dict[str, Tensor]
) -> Iterator[tuple[dict[str, Tensor], dict[str, Any]]]:
    """A state in its own names, and where the network knows them as another's, in ours with what they settle."""
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


def differences(net: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """What keeps weights from fitting a network: one line for each kind, with the first names; empty if they fit."""
    expected = net.state_dict()
    missing = [key for key in expected if key not in weights]
    unexpected = [key for key in weights if key not in expected]
    shapes = [
        f"{key} {tuple(weights[key].shape)}, the network has {tuple(value.shape)}"
        for key, value in expected.items()
        if key in weights and weights[key].shape != value.shape
    ]
    return [
        f"{what} ({len(names)}): {'; '.join(names[:3])}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("other shape", shapes))
        if names
    ]


def _size(findings: list[str]) -> int:
    return sum(int(number) for line in findings for number in re.findall(r"\((\d+)\): ", line))


def _other_settings(net: nn.Module, settings: Mapping[str, Any]) -> list[str]:
    findings = []
    for name, value in settings.items():
        own = torch.as_tensor(getattr(net, name)).flatten()
        if not torch.allclose(own.cpu().double(), torch.tensor(value).flatten().double(), rtol=0, atol=1e-5):
            shown = [round(v, 4) for v in own.tolist()]
            findings.append(f"model.{name}: the file was made with {value}, the network has {shown}")
    return findings


def read_config(path: Path) -> dict[str, Any] | None:
    """What is needed to build the network of one of our checkpoints again, as plain data.

    Returns:
        `model` (a section without `weights`) and `scale` (a list), or None for any other file of weights.

    Raises:
        UserError: The file cannot be read, or asks for something else than one of our networks.
    """
    saved = None if _is_safetensors(path) else read_checkpoint(path).get("sr_lightning")
    config = saved.get("config") if isinstance(saved, dict) else None
    if not isinstance(saved, dict) or not isinstance(config, dict) or "model" not in config:
        return None
    if saved.get("format") != FORMAT:
        raise UserError(f"{path}: has the format {saved.get('format')!r}, allowed: {FORMAT}")
    check_own_network(config["model"], path)
    model = {key: value for key, value in config["model"].items() if key not in ("weights", "adam_lr")}
    return {"model": model, "scale": config.get("scale")}


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
        raise UserError(f"{path}: the argument {bad!r} of its network is no plain value")


def _not_plain(value: Any) -> Any:
    """The first part that is more than data: an object, a key of Hydra's, an interpolation; None if there is none."""
    if isinstance(value, dict):
        for key, entry in value.items():
            if not isinstance(key, str) or key.startswith("_") or "${" in key:
                return key
            if (bad := _not_plain(entry)) is not None:
                return bad
        return None
    if isinstance(value, list):
        return next((bad for entry in value if (bad := _not_plain(entry)) is not None), None)
    if isinstance(value, str):
        return value if "${" in value else None
    return None if value is None or isinstance(value, bool | int | float) else value
