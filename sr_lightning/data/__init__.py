"""From folders of images to batches; read files, store, crops, datasets, degrade, made_lr, datamodule in this order.

`realworld` and `jpeg` are the degradations of real photographs; `packing` writes and `streaming` reads sets in shards.
A name is imported when it is asked for: only the data module needs lightning, and what looks at files not even torch.
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
