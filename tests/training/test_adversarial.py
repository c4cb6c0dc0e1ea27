"""Adversarial training through the command: what is stepped, counted, logged, saved and continued."""

import copy
import csv
import json
import os
import signal
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch.nn.utils import clip_grad_norm_

from helpers.equality import bit_identical
from sr_lightning.callbacks import Checkpoints, Throughput
from sr_lightning.errors import UserError
from sr_lightning.losses import CompositeLoss
from sr_lightning.losses.adversarial import VanillaGANLoss
from sr_lightning.models import EDSR
from sr_lightning.models.discriminators import UNetDiscriminator, VGGDiscriminator
from sr_lightning.train import main
from sr_lightning.training.adversarial import AdversarialModule, Adversary

pytestmark = pytest.mark.usefixtures("_hydras_logging")
ONE_STEP = ["trainer.max_steps=1", "trainer.val_check_interval=1"]


@pytest.fixture
def gan(tiny):
    """Arguments of a small adversarial run."""
    return [
        *tiny,
        "adversarial=srgan",
        "adversarial.discriminator.n_feats=4",
        "adversarial.discriminator.n_dense=8",
        "callbacks.pictures=null",
        "data.val_crop=48",
        "data.val_holdout=1",
    ]


def only_run(runs="runs"):
    (path,) = Path(runs, "train").iterdir()
    return path


def checkpoint(run, name="last"):
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)


def metrics(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_what_a_run_leaves(gan):
    """One count for both optimizers, unweighted terms, and a checkpoint whose network knows no discriminator.

    With `monitor: step`, as in the shipped experiments, the best is the newest; the objective stays the gain.
    """
    assert main([*gan, "adversarial.weight=0.5", "scheduler=cosine", "callbacks.checkpoints.monitor=step"]) == 0
    run, saved = only_run(), checkpoint(only_run())
    rows = [row for row in metrics(run) if row["train/loss"]]
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    assert saved["global_step"] == 4
    assert [state["state"][0]["step"].item() for state in saved["optimizer_states"]] == [4, 4]
    assert [int(row["step"]) for row in metrics(run) if row["val/psnr_y"]] == [2, 4]
    assert len({row["lr"] for row in rows}) == 4  # the schedule moves at every step
    for row in rows:
        total = float(row["train/loss/pixel"]) + 0.5 * float(row["train/loss/adversarial"])
        assert float(row["train/loss"]) == pytest.approx(total, rel=1e-5)
        assert float(row["train/share/adversarial"]) == pytest.approx(
            0.5 * float(row["train/loss/adversarial"]) / total, rel=1e-5
        )
        assert float(row["train/grad_norm"]) > 0
        assert float(row["train/loss/discriminator"]) > 0
        assert row["train/discriminator/real"]
        assert row["train/discriminator/fake"]
    assert all(key.startswith("net.") for key in saved["state_dict"])
    schedules = saved["lr_schedulers"]
    assert [(s["last_epoch"], s["base_lrs"]) for s in schedules] == [(4, [2e-3]), (4, [1e-4])]
    results = json.loads((run / "results.json").read_text())
    assert results["rows"][1]["params"] == sum(value.numel() for value in saved["state_dict"].values())
    assert bit_identical(checkpoint(run, "best")["state_dict"], saved["state_dict"])
    last = [row for row in metrics(run) if row["val/gain"]][-1]
    assert results["objective"] == pytest.approx(float(last["val/gain"]))


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_a_step_is_one_of_gradient_descent_on_each_sides_own_loss(gan, clip):
    """Both computed again with plain autograd from the weights before."""
    before = []
    real = AdversarialModule.training_step

    def noted(self, batch, batch_idx):
        before.append((copy.deepcopy(self.net), copy.deepcopy(self.adversary.discriminator), batch))
        return real(self, batch, batch_idx)

    settings = [*gan, "optimizer=sgd", "optimizer.momentum=0", "optimizer.lr=0.1", "scheduler=constant"]
    settings += [
        "adversarial=unet",
        "adversarial.discriminator.n_feats=4",
        "adversarial.discriminator.spectral_norm=false",
    ]
    settings += [
        "optimizer@adversarial.optimizer=sgd",
        "adversarial.optimizer.lr=0.3",
        "adversarial.optimizer.momentum=0",
    ]
    settings = [a for a in settings if "n_dense" not in a and a != "adversarial=srgan"]
    settings += ["trainer.max_steps=2", f"trainer.gradient_clip_val={clip or 'null'}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdversarialModule, "training_step", noted)
        assert main(settings) == 0
    (net, judge, batch), (net_after, judge_after, _) = before
    sr = net(batch.lr)
    out_real, out_fake = judge(batch.hr), judge(sr)
    total = (sr - batch.hr).abs().mean() - 0.1 * torch.log(torch.sigmoid(out_fake)).mean()
    of_judge = -torch.log(torch.sigmoid(out_real)).mean() - torch.log(1 - torch.sigmoid(out_fake)).mean()
    for own, after, loss, rate in ((net, net_after, total, 0.1), (judge, judge_after, of_judge, 0.3)):
        parameters = list(own.parameters())
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True
        ):
            parameter.grad = gradient
        if clip:
            assert clip_grad_norm_(parameters, clip) > clip
        assert any(parameter.grad.abs().sum() > 0 for parameter in parameters)
        for parameter, stepped in zip(parameters, after.parameters(), strict=True):
            torch.testing.assert_close(stepped - parameter, -rate * parameter.grad, atol=1e-7, rtol=1e-3)


def signalled(self, trainer, *arguments, real=Throughput.on_train_batch_end):
    real(self, trainer, *arguments)
    if trainer.global_step == 3:
        os.kill(os.getpid(), signal.SIGTERM)


def test_continued_is_as_if_never_stopped(gan):
    """Network, discriminator (with the vectors of its spectral norm), both optimizers and what was logged."""
    settings = [*gan, "adversarial.loss._target_=sr_lightning.losses.adversarial.RelativisticGANLoss"]
    settings += ["adversarial.discriminator.spectral_norm=true", "scheduler=multistep"]
    assert main([*settings, "paths.runs=straight"]) == 0
    straight = only_run("straight")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Throughput, "on_train_batch_end", signalled)
        assert main(settings) == 128 + signal.SIGTERM
    stopped = only_run()
    assert main(["ckpt_path=last"]) == 0
    one, two = checkpoint(straight), checkpoint(stopped)
    for part in ("state_dict", "discriminator", "optimizer_states", "lr_schedulers"):
        assert bit_identical(one[part], two[part]), part
    assert any("_u" in key for key in one["discriminator"])
    columns = ("step", "train/loss", "train/loss/adversarial", "train/loss/discriminator", "val/psnr_y", "lr")
    assert [[r[c] for c in columns] for r in metrics(straight)] == [[r[c] for c in columns] for r in metrics(stopped)]


def test_the_average_is_of_the_network_and_updated_by_its_steps(gan):
    settings = [*gan, "callbacks=ema", "callbacks.ema.decay=0.5", "callbacks.ema.every=2", "scheduler=constant"]
    raw, real = [], Checkpoints.on_train_batch_end

    def noted(self, trainer, module, *arguments):
        raw.append({f"net.{key}": value.clone() for key, value in module.net.state_dict().items()})
        real(self, trainer, module, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "on_train_batch_end", noted)
        assert main(settings) == 0
    saved = checkpoint(only_run())
    assert saved["state_dict"].keys() == saved["current_model_state"].keys() == raw[0].keys()
    for key, value in saved["state_dict"].items():
        torch.testing.assert_close(value, 0.5 * raw[1][key] + 0.5 * raw[3][key])  # after steps 2 and 4
        torch.testing.assert_close(saved["current_model_state"][key], raw[3][key])


def test_a_discriminator_that_is_no_number_stops_the_run(gan, capsys):
    assert main([*gan, "adversarial.optimizer.lr=1e30", "trainer.max_steps=20", "trainer.val_check_interval=20"]) == 1
    err = capsys.readouterr().err
    assert "the loss is not finite at step" in err
    assert "discriminator" in err
    assert "Traceback" not in err


def test_the_term_joins_in_its_warm_up_while_the_discriminator_learns_from_the_first_step(gan):
    assert main([*gan, "adversarial.weight=0.5", "adversarial.warmup=[0.25,0.75]"]) == 0
    rows = [row for row in metrics(only_run()) if row["train/loss"]]
    assert all(float(row["train/loss/discriminator"]) > 0 for row in rows)
    assert [row["train/loss/adversarial"] for row in rows[:2]] == ["", ""]
    for row, weight in zip(rows[2:], (0.25, 0.5), strict=True):  # at 2/4 and 3/4 of the training
        share = weight * float(row["train/loss/adversarial"]) / float(row["train/loss"])
        assert float(row["train/share/adversarial"]) == pytest.approx(share, rel=1e-5)


def test_a_weight_of_0_builds_no_discriminator(gan):
    assert main([*gan, *ONE_STEP, "adversarial.weight=0", "trainer.accumulate_grad_batches=2"]) == 0
    assert "discriminator" not in checkpoint(only_run())


def test_a_network_that_works_on_y_is_judged_in_colour(gan):
    assert main([*[a for a in gan if not a.startswith("model.")], *ONE_STEP, "model=espcn"]) == 0
    assert "train/loss/adversarial" in (only_run() / "metrics.csv").read_text()


def test_what_does_not_fit_is_refused_before_training(gan, capsys):
    assert main([*gan, "scale=2"]) == 2
    said = "data.patch_size: found 12, 24 HR pixels at x2, but VGGDiscriminator needs 32; allowed: 16 and more"
    assert said in capsys.readouterr().err
    assert main([*gan, "adversarial.loss._target_=sr_lightning.losses.L1Loss"]) == 2
    assert (
        "adversarial.loss: sr_lightning.losses.L1Loss is a L1Loss, allowed: a AdversarialLoss"
        in capsys.readouterr().err
    )
    assert list(Path("runs/train").iterdir()) == []


def test_without_a_config():
    with pytest.raises(UserError, match=r"adversarial\.weight: found -1, allowed: a finite number"):
        Adversary(UNetDiscriminator(n_feats=4), VanillaGANLoss(), torch.optim.Adam, weight=-1)
    adversary = Adversary(UNetDiscriminator(n_feats=4), VanillaGANLoss(), torch.optim.Adam, weight=0.1)
    module = AdversarialModule(EDSR(4, n_feats=4, n_resblocks=1), CompositeLoss(), adversary=adversary)
    assert all(name.startswith("net.") for name, _ in module.named_parameters())
    module.to(torch.float64)  # the discriminator follows
    assert adversary.discriminator.head.weight.dtype == torch.float64


def test_sync_batchnorm_reaches_the_discriminator():
    """Which is no submodule, so that Lightning converts the network alone."""
    adversary = Adversary(VGGDiscriminator(n_feats=4, n_dense=8), VanillaGANLoss(), torch.optim.Adam, weight=0.1)
    module = AdversarialModule(EDSR(2, n_feats=4, n_resblocks=1), CompositeLoss(), adversary=adversary)
    before = adversary.discriminator.state_dict()
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    module.trainer = trainer
    module.setup("fit")
    assert not any(isinstance(part, torch.nn.SyncBatchNorm) for part in adversary.discriminator.modules())
    trainer.strategy._layer_sync = TorchSyncBatchNorm()  # as a strategy of several processes gets it
    module.setup("fit")
    found = [
        part for part in adversary.discriminator.modules() if isinstance(part, torch.nn.modules.batchnorm._BatchNorm)
    ]
    assert len(found) > 1
    assert all(isinstance(part, torch.nn.SyncBatchNorm) for part in found)
    assert bit_identical(adversary.discriminator.state_dict(), before)
