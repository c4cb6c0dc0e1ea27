"""Methods that an evaluation compares: bicubic, networks, and images made by other programs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sr_lightning.data.batch import EvalBatch
from sr_lightning.errors import FailedError, UserError, is_out_of_memory, one_line, user_place
from sr_lightning.evaluation.scores import BICUBIC, MethodId
from sr_lightning.inference.predict import bicubic, super_resolve

_LONGEST = 100  # maximum characters of a folder name: 255 bytes are allowed, and a number may be appended


@dataclass(frozen=True)
class Method:
    """Base of all methods: a name for tables, and an SR image for each LR image."""

    label: str
    """Name in tables; shared by checkpoints that differ only in their training seed."""
    scales: tuple[int, ...] = ()
    """Supported scales; empty for any."""
    seeds: int = 1
    """Number of checkpoints that share the label."""
    params: int | None = None
    """Number of parameters."""
    seed: int | None = None
    """Seed of the training."""
    trained_on: str = ""
    """Names of the training folders."""
    is_timed: bool = True

    @property
    def id(self) -> MethodId:
        """Unique identity within the evaluation."""
        return MethodId(self.label)

    @property
    def facts(self) -> dict[str, Any]:
        """Further entries of its rows in `results.json`."""
        return {"params": self.params, "seed": self.seed, "trained_on": self.trained_on}

    @property
    def notes(self) -> list[str]:
        """Remarks below the table."""
        return []

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        """Context in which everything that the method needs is on a device."""
        yield

    def predict(self, batch: EvalBatch) -> Tensor:
        """Returns the SR image, (1, 3, h·s, w·s), uint8 or floating point in [0, 1]."""
        raise NotImplementedError  # implemented by each kind of method


def folder_names(methods: Sequence[Method]) -> dict[MethodId, str]:
    """Returns a folder name for each method: its label in safe characters, numbered if it repeats.

    Labels come from file and run names, so they may be long, hidden (`..`), or differ only in special characters.
    """
    names: dict[MethodId, str] = {}
    for method in methods:
        label = method.label if method.seeds == 1 else f"{method.label} seed {method.seed}"
        name = first = folder_name(label)
        number = 2
        while name.casefold() in {other.casefold() for other in names.values()}:
            name, number = f"{first} {number}", number + 1
        names[method.id] = name
    return names


def folder_name(label: str) -> str:
    """Returns a label in characters that are safe in a path."""
    return re.sub(r"[^\w.() -]+", "_", label)[:_LONGEST].strip(". ") or "method"


@dataclass(frozen=True)
class BicubicMethod(Method):
    """MATLAB's bicubic interpolation, the baseline."""

    label: str = BICUBIC.label
    params: int | None = 0

    @property
    def facts(self) -> dict[str, Any]:
        """Its rows have no further entries."""
        return {}

    def predict(self, batch: EvalBatch) -> Tensor:
        """See `Method.predict`."""
        return bicubic(batch.lr, batch.scale, kernel=batch.baseline)


@dataclass(frozen=True, kw_only=True)
class NetworkMethod(Method):
    """A network with its weights."""

    net: nn.Module
    checkpoint: str | None
    """Weights file; None if there is none."""
    config: dict[str, Any] = field(default_factory=dict)
    """Config of the training; empty if the file does not contain it."""
    self_ensemble: bool = False
    tile: int | None = None
    """Largest side of a tile in LR pixels; None processes the whole image at once."""

    @property
    def id(self) -> MethodId:
        """Label and checkpoint."""
        return MethodId(self.label, self.checkpoint)

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        """Moves the network to the device and back, so that only one network at a time is there."""
        self.net.to(device)
        try:
            yield
        finally:
            self.net.to("cpu")

    def predict(self, batch: EvalBatch) -> Tensor:
        """See `Method.predict`.

        Raises:
            UserError: The network returned another size, or the user's own code failed.
            FailedError: There is not enough memory for the image.
        """
        try:
            return super_resolve(self.net, batch.lr, batch.scale, self_ensemble=self.self_ensemble, tile=self.tile)
        except UserError:
            raise
        except Exception as error:
            height, width = batch.lr.shape[-2:]
            where = f"{self.checkpoint or self.label}: {batch.name} ({width}x{height} LR pixels) at x{batch.scale}"
            if is_out_of_memory(error):
                smaller = (self.tile or max(height, width)) // 2
                raise FailedError(f"{where}: not enough memory ({one_line(error)}); try tile={smaller}") from None
            if isinstance(error, ValueError):
                raise UserError(f"{where}: {error}") from None
            if (place := user_place(error)) is not None:
                raise UserError(f"{where}: {one_line(error)} ({place})") from None
            raise


def network_method(
    label: str, net: nn.Module, scales: tuple[int, ...], checkpoint: str | None, config: dict[str, Any]
) -> NetworkMethod:
    """Creates the method for a network, with facts from its training config, which is untrusted."""
    return NetworkMethod(
        label=label,
        net=net,
        scales=scales,
        checkpoint=checkpoint,
        config=config,
        params=sum(p.numel() for p in net.parameters()) or None,  # an exported network has none
        seed=seed if type(seed := config.get("seed")) is int else None,
        trained_on=", ".join(training_sets(config)),
    )


def training_sets(config: dict[str, Any]) -> list[str]:
    """Returns the names of the training folders, prefixed with their package if they are part of one."""
    data = config.get("data")
    folders = data.get("train_dir") if isinstance(data, dict) else None
    folders = [folders] if isinstance(folders, str) else folders if isinstance(folders, list) else []
    paths = [Path(folder) for folder in folders if isinstance(folder, str)]
    return [p.name if p.name != "data" else f"{p.parent.name}/{p.name}" for p in paths]
