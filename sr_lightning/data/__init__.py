"""From folders of pictures to batches; read files, store, crops, datasets, degrade, datamodule in this order.

`realworld` and `jpeg` are the degradations of real photographs. `packing` writes and `streaming` reads sets in shards.
"""

from sr_lightning.data.batch import EvalBatch, TrainBatch
from sr_lightning.data.datamodule import SRDataModule
from sr_lightning.data.realworld import Classical, SecondOrder

__all__ = ["Classical", "EvalBatch", "SRDataModule", "SecondOrder", "TrainBatch"]
