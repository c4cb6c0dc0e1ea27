"""Methods that an evaluation compares: bicubic, networks, and images made by other programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sr_lightning.data.batch import EvalBatch
from sr_lightning.errors import UserError
from sr_lightning.evaluation.scores import BICUBIC, MethodId
from sr_lightning.inference.predict import bicubic, super_resolve


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

    @property
    def folder(self) -> str:
        """Its name as a folder's."""
        label = self.label if self.seeds == 1 else f"{self.label} seed {self.seed}"
        return re.sub(r"[^\w.() -]+", "_", label)

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        """Keeps what it needs on a device while the block runs."""
        yield

    def predict(self, batch: EvalBatch) -> Tensor:
        """The enlarged image, (1, 3, h·s, w·s), uint8 or floating point in [0, 1]."""
        raise NotImplementedError


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
        return bicubic(batch.lr, batch.scale)


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
            UserError: The network returned another size.
        """
        try:
            return super_resolve(self.net, batch.lr, batch.scale, self_ensemble=self.self_ensemble, tile=self.tile)
        except ValueError as error:
            raise UserError(f"{self.checkpoint or self.label}: {error}") from None


def network_method(
    label: str, net: nn.Module, scales: tuple[int, ...], checkpoint: str | None, config: dict[str, Any]
) -> NetworkMethod:
    """A network with the facts of its training config."""
    return NetworkMethod(
        label=label,
        net=net,
        scales=scales,
        checkpoint=checkpoint,
        config=config,
        params=sum(p.numel() for p in net.parameters()),
        seed=config.get("seed"),
        trained_on=_training_sets(config),
    )


def _training_sets(config: dict[str, Any]) -> str:
    """The names of the training folders, with the package of those that are part of one."""
    folders = config.get("data", {}).get("train_dir") or []
    paths = [Path(folder) for folder in ([folders] if isinstance(folders, str) else folders)]
    return ", ".join(p.name if p.name != "data" else f"{p.parent.name}/{p.name}" for p in paths)
