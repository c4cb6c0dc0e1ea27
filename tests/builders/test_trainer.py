"""The Trainer, from its section."""

import pytest
import torch

from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def test_more_gpus_than_there_are_end_without_a_traceback(tiny, capsys, monkeypatch):
    """The first check sees that the machine has a GPU; how many torch can use is known once it is imported."""
    monkeypatch.setattr("sr_lightning.config.trainer_check.has_accelerator", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert main([*tiny, "trainer.accelerator=gpu", "trainer.devices=[1]"]) == 2
    err = capsys.readouterr().err
    assert "trainer.accelerator, trainer.devices: found gpu and [1], but torch sees 1 GPUs here" in err
    assert "Traceback" not in err
