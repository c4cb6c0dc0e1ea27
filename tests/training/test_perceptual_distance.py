"""The callback that measures a perceptual distance at each validation."""

import pytest
import torch

from sr_lightning.callbacks import PerceptualDistance
from sr_lightning.data.batch import EvalBatch, NoImage
from sr_lightning.losses import PerceptualLoss


class Strategy:
    def reduce(self, values, reduce_op):
        assert reduce_op == "sum"
        return values


class Trainer:
    strategy = Strategy()


class Module:
    device = torch.device("cpu")

    def __init__(self):
        self.logged = {}

    def log(self, name, value):
        self.logged[name] = float(value)


def test_it_is_the_mean_of_the_loss_over_the_images():
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (1, 3, 48, 48 + 8 * i), generator=generator, dtype=torch.uint8) for i in range(2)]
    outputs = [torch.rand(image.shape, generator=generator) * 1.2 - 0.1 for image in images]
    module, callback, trainer = Module(), PerceptualDistance(), Trainer()
    callback.on_validation_epoch_start(trainer, module)
    for i, (hr, sr) in enumerate(zip(images, outputs, strict=True)):
        batch = EvalBatch(lr=hr[..., ::4, ::4] / 255, hr=hr, scale=4, set="A", name="a", key=i)
        callback.on_validation_batch_end(trainer, module, sr, batch, i)
    callback.on_validation_batch_end(trainer, module, None, NoImage(), 2)
    callback.on_validation_epoch_end(trainer, module)
    loss = PerceptualLoss()
    with torch.no_grad():
        expected = [float(loss(sr.clamp(0, 1), hr / 255)) for sr, hr in zip(outputs, images, strict=True)]
    assert module.logged["val/perceptual"] == pytest.approx(sum(expected) / 2, rel=1e-5)
    callback.on_validation_epoch_start(trainer, module)
    callback.on_validation_epoch_end(trainer, module)  # no image: no mean
    assert len(module.logged) == 1
