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

_LONGEST = 100  # characters of a folder's name: 255 bytes are allowed, and a number may follow


@dataclass(frozen=True)
class Method:
    """What all methods have: a name in tables, and an SR image for each LR image."""

    label: str
    """Its name in tables; checkpoints that differ only in their training seed share it."""
    scales: tuple[int, ...] = ()
    """Supported scales; empty: any."""
    seeds: int = 1
    """How many checkpoints share the label."""
    params: int | None = None
    """Number of parameters."""
    seed: int | None = None
    """Of its training."""
    trained_on: str = ""
    """Names of its training folders."""
    is_timed: bool = True

    @property
    def id(self) -> MethodId:
        """Tells it from every other method of the evaluation."""
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
        """Keeps what it needs on a device while the block runs."""
        yield

    def predict(self, batch: EvalBatch) -> Tensor:
        """The enlarged image, (1, 3, h·s, w·s), uint8 or floating point in [0, 1]."""
        raise NotImplementedError  # each kind of method has its own


def folder_names(methods: Sequence[Method]) -> dict[MethodId, str]:
    """A name for each method's folder: its label in safe characters, with a number where it repeats.

    Labels come from names of files and runs, so that they may be long, hidden (`..`), or differ in signs only.
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
    """A label in characters that are safe in a path."""
    return re.sub(r"[^\w.() -]+", "_", label)[:_LONGEST].strip(". ") or "method"


@dataclass(frozen=True)
class BicubicMethod(Method):
    """MATLAB's bicubic interpolation, the baseline."""

    label: str = BICUBIC.label
    params: int | None = 0

    @property
    def facts(self) -> dict[str, Any]:
        """Its rows have nothing further."""
        return {}

    def predict(self, batch: EvalBatch) -> Tensor:
        """See `Method.predict`."""
        return bicubic(batch.lr, batch.scale, kernel=batch.baseline)


@dataclass(frozen=True, kw_only=True)
class NetworkMethod(Method):
    """A network with its weights."""

    net: nn.Module
    checkpoint: str | None
    """The file of its weights; None where it has none."""
    config: dict[str, Any] = field(default_factory=dict)
    """The config that it was trained with; empty where its file does not say."""
    self_ensemble: bool = False
    tile: int | None = None
    """Largest side of what the network sees at once, in LR pixels; None: the whole image."""

    @property
    def id(self) -> MethodId:
        """Label and checkpoint."""
        return MethodId(self.label, self.checkpoint)

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        """One network at a time is on the device."""
        self.net.to(device)
        try:
            yield
        finally:
            self.net.to("cpu")

    def predict(self, batch: EvalBatch) -> Tensor:
        """See `Method.predict`.

        Raises:
            UserError: The network returned another size, or code of the user's own failed.
            FailedError: Not enough memory for the image.
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
    """A network with the facts of its training config, which comes from a file and may hold anything."""
    return NetworkMethod(
        label=label,
        net=net,
        scales=scales,
        checkpoint=checkpoint,
        config=config,
        params=sum(p.numel() for p in net.parameters()) or None,  # an exported one tells none
        seed=seed if type(seed := config.get("seed")) is int else None,
        trained_on=", ".join(training_sets(config)),
    )


def training_sets(config: dict[str, Any]) -> list[str]:
    """The names of the training folders, with the package of those that are part of one."""
    data = config.get("data")
    folders = data.get("train_dir") if isinstance(data, dict) else None
    folders = [folders] if isinstance(folders, str) else folders if isinstance(folders, list) else []
    paths = [Path(folder) for folder in folders if isinstance(folder, str)]
    return [p.name if p.name != "data" else f"{p.parent.name}/{p.name}" for p in paths]
