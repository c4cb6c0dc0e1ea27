"""The average of the weights lies where training runs."""

from types import SimpleNamespace

import lightning.pytorch as pl
import torch
from torch import nn

from sr_lightning.callbacks import EMA


def test_the_average_is_made_on_the_training_device():
    """Callbacks are set up before the module is moved to a GPU, so that the average stayed on the CPU."""
    module = pl.LightningModule()
    module.net = nn.Conv2d(1, 1, 3)
    ema = EMA()
    ema.setup(SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("meta"))), module, "fit")
    assert {weight.device.type for weight in ema._average_model.parameters()} == {"meta"}
    assert {weight.device.type for weight in module.parameters()} == {"cpu"}
