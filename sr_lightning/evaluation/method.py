"""A network that is evaluated, with the label and facts that tables show of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Method:
    """One network to evaluate."""

    label: str
    """As the table names it; checkpoints that differ only in their seed share it."""
    net: nn.Module
    scales: tuple[int, ...]
    """Empty: nobody says which, so the user's are tried."""
    checkpoint: str | None
    config: dict[str, Any]
    """What it was trained with; empty where its file does not say."""
    seeds: int = 1
    """How many checkpoints share the label."""

    @property
    def params(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.net.parameters())

    @property
    def name(self) -> str:
        """Tells it from every other method of the evaluation."""
        return self.label if self.checkpoint is None else f"{self.label}\n{self.checkpoint}"

    @property
    def folder(self) -> str:
        """Its name as a folder's."""
        label = self.label if self.seeds == 1 else f"{self.label} seed {self.seed}"
        return re.sub(r"[^\w.() -]+", "_", label)

    @property
    def seed(self) -> int | None:
        """What its training started from."""
        return self.config.get("seed")

    @property
    def trained_on(self) -> str:
        """The names of its training folders, with the package of those that come with one."""
        folders = self.config.get("data", {}).get("train_dir") or []
        paths = [Path(folder) for folder in ([folders] if isinstance(folders, str) else folders)]
        return ", ".join(p.name if p.name != "data" else f"{p.parent.name}/{p.name}" for p in paths)
