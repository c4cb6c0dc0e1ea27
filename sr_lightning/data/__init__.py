"""Data pipeline from image files to batches on the device.

Suggested reading order: `files` and `image.decoder` (file -> array), `cache` (arrays decoded once), `images` (a set
of them), `image_sets` and `sources` (config -> checked sets), `sampling` (which window is sample k), `datasets`
(windows and whole images), `degradations` (HR -> LR), `datamodule` (all of it, for Lightning). Names are imported
lazily: only the data module needs lightning, and the modules that inspect files do not even need torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["Classical", "EvalBatch", "SRDataModule", "SecondOrder", "Shards", "TrainBatch"]

if TYPE_CHECKING:
    from sr_lightning.data.batch import EvalBatch, TrainBatch
    from sr_lightning.data.datamodule import SRDataModule
    from sr_lightning.data.degradations.realworld import Classical, SecondOrder
    from sr_lightning.data.shards.reader import Shards
else:
    _HOMES = {
        "Classical": "degradations.realworld",
        "EvalBatch": "batch",
        "SRDataModule": "datamodule",
        "Shards": "shards.reader",
        "SecondOrder": "degradations.realworld",
        "TrainBatch": "batch",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
