"""Training on a GPU: precisions, layout, compilation, one process of DDP; `SR_TEST_DEVICE=cpu` tries it without one."""

import csv
import itertools
from pathlib import Path

import pytest
import torch

from sr_lightning import load
from sr_lightning.builders.training import build_optimizer
from sr_lightning.models import EDSR
from sr_lightning.train import main
from sr_lightning.training.module import SRModule

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("_hydras_logging"),
    pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU"),
    # fp16 skips steps until its scale fits, the first one perhaps.
    pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step"),
]


def train(arguments, folder, *more):
    """A run's logged rows."""
    assert main([*arguments, f"hydra.run.dir={folder}", *more]) == 0
    with Path(folder, "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def logged(rows, name):
    return [float(row[name]) for row in rows if row.get(name)]


def weights(folder):
    return torch.load(Path(folder, "checkpoints/last.ckpt"), weights_only=True, map_location="cpu")["state_dict"]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_the_network_learns_in_every_precision(on_device, precision):
    settings = ["trainer.max_steps=60", "trainer.val_check_interval=20", "scheduler=constant", "data.batch_size=8"]
    settings += ["optimizer.lr=3e-3", "data.val_crop=96", "callbacks=ema", "callbacks.ema.decay=0.9"]
    rows = train(on_device, "a", *settings, f"trainer.precision={precision}", "trainer.gradient_clip_val=0.5")
    loss, gain = logged(rows, "train/loss"), logged(rows, "val/gain")
    assert sum(loss[-20:]) < sum(loss[:20])
    assert gain[-1] > gain[0] > -0.5
    assert load("a/checkpoints/best.ckpt")  # on the CPU


def test_precision_is_chosen_for_the_device(on_device, device, capsys):
    train(on_device, "a", "trainer.precision=auto", "trainer.max_steps=1")
    said = capsys.readouterr().out
    if device.type == "cuda":  # in hardware since Ampere
        assert ("bf16-mixed" in said) == (torch.cuda.get_device_capability(device) >= (8, 0))
    else:
        assert "bf16-mixed" in said or "32-true" in said


@pytest.mark.parametrize("kind", ["srgan", "esrgan"])
def test_adversarial_training_in_fp16(on_device, kind):
    """Two optimizers with one scaler."""
    settings = [f"adversarial={kind}", "adversarial.discriminator.n_feats=4", "trainer.gradient_clip_val=1"]
    if kind == "srgan":
        settings.append("adversarial.discriminator.n_dense=8")
    rows = train(on_device, "a", *settings, "trainer.precision=16-mixed", "data.val_crop=48")
    assert all(map(torch.isfinite, torch.tensor(logged(rows, "train/loss"))))
    assert len(logged(rows, "train/loss")) == 4


def test_features_lie_in_channels_last(on_device, monkeypatch):
    """Else every convolution of a GPU's tensor cores is between two copies."""
    found = []
    real = SRModule.training_step

    def watched(self, batch, batch_idx):
        def look(_, inputs, output):
            found.extend(x.is_contiguous(memory_format=torch.channels_last) for x in (*inputs, output))

        hooks = [m.register_forward_hook(look) for m in self.net.modules() if isinstance(m, torch.nn.Conv2d)]
        result = real(self, batch, batch_idx)
        for hook in hooks:
            hook.remove()
        return result

    monkeypatch.setattr(SRModule, "training_step", watched)
    train(on_device, "a", "trainer.max_steps=1")
    assert len(found) > 4
    assert all(found)


def test_a_compiled_network_trains_as_the_same_does_eagerly(on_device):
    settings = ["trainer.max_steps=3", "trainer.val_check_interval=3", "optimizer=sgd", "optimizer.lr=0.1"]
    runs = {name: train(on_device, name, *settings, f"compile={name}") for name in ("false", "true")}
    for one, other in itertools.pairwise(logged(rows, "train/loss") for rows in runs.values()):
        assert other == pytest.approx(one, rel=1e-3)
    assert weights("true").keys() == weights("false").keys()
    for key, weight in weights("false").items():
        torch.testing.assert_close(weights("true")[key], weight, atol=1e-4, rtol=1e-2)


def test_one_process_of_ddp_gives_the_weights_of_none(on_device):
    settings = ["trainer.max_steps=3", "optimizer=sgd", "optimizer.lr=0.1", "trainer.deterministic=true"]
    train(on_device, "alone", *settings)
    train(on_device, "ddp", *settings, "trainer.strategy=ddp", "trainer.devices=1")
    for key, weight in weights("alone").items():
        torch.testing.assert_close(weights("ddp")[key], weight, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", ["Adam", "AdamW", "SGD"])
def test_a_fused_optimizer_steps_as_a_loop_does(device, kind):
    lr = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0)).to(device)
    ends = []
    for more in ({}, {"fused": False}):
        torch.manual_seed(0)
        net = EDSR(2, n_feats=8, n_resblocks=1).to(device, memory_format=torch.channels_last)
        section = {"_target_": f"torch.optim.{kind}", "lr": 1e-2, **more}
        optimizer = build_optimizer(section, "optimizer")(net.parameters())
        assert bool(optimizer.param_groups[0]["fused"]) == (not more)
        for step in range(5):  # a gradient that the device's rounding does not enter
            for number, parameter in enumerate(net.parameters()):
                parameter.grad = torch.full_like(parameter, (step + 1) * 0.1 - number * 0.01)
            optimizer.step()
        ends.append([net(lr), *net.parameters()])
    for fused, loop in zip(*ends, strict=True):
        torch.testing.assert_close(fused, loop, atol=1e-4, rtol=1e-4)
