"""From folders of pictures to batches; read files, store, crops, datasets, degrade, datamodule in this order."""

from sr_lightning.data.batch import EvalBatch, TrainBatch
from sr_lightning.data.datamodule import SRDataModule

__all__ = ["EvalBatch", "SRDataModule", "TrainBatch"]
