"""Lightning's private attributes that the project uses: each is where it was, and means what it meant.

A failure here says which of them a new version of Lightning has changed, and where we rely on it.
"""

import inspect

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.trainer.connectors.logger_connector.logger_connector import _LoggerConnector
from torch.utils.data import DataLoader


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.hooks_noted = 0

    def __setattr__(self, name, value):
        self.__dict__["hooks_noted"] = self.__dict__.get("hooks_noted", 0) + (name == "_current_fx_name")
        super().__setattr__(name, value)

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).mean()
        self.log("loss", loss)
        return {"loss": loss}

    def validation_step(self, batch, batch_idx):
        self.log("score", batch.mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Observer(pl.Callback):
    """Notes what exact_resume.py reads after each step and before a validation."""

    def __init__(self):
        self.steps, self.validations, self.checkpoint, self.candidates = [], [], None, {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        loop = trainer.fit_loop.epoch_loop
        total = loop.batch_progress.total
        self.steps.append((trainer.global_step, total.ready, total.completed, loop._batches_that_stepped))

    def on_validation_end(self, trainer, pl_module):
        self.validations.append(trainer._logger_connector._first_loop_iter)
        self.candidates = trainer.checkpoint_callback._monitor_candidates(trainer)

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        self.checkpoint = checkpoint


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A trainer after five steps with two validations, its module and its observer."""
    folder = tmp_path_factory.mktemp("fit")
    module, observer = Module(), Observer()
    saver = ModelCheckpoint(folder, monitor="score", save_last=True, save_on_train_epoch_end=False)
    average = WeightAveraging(multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    data = DataLoader(torch.ones(100, 1), batch_size=2)
    trainer = pl.Trainer(
        max_steps=5,
        max_epochs=-1,
        val_check_interval=2,
        limit_val_batches=1,
        check_val_every_n_epoch=None,
        callbacks=[observer, average, saver],
        logger=False,
        accelerator="cpu",
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data, data)
    return trainer, module, observer


def test_the_counts_after_a_step(fitted):
    """exact_resume: (step, batches begun, batches completed, rows logged), the last two not yet raised."""
    assert fitted[2].steps == [(n, n, n - 1, n - 1) for n in range(1, 6)]


def test_the_counts_in_a_checkpoint(fitted):
    """exact_resume: the keys that it rewrites."""
    loops = fitted[2].checkpoint["loops"]["fit_loop"]
    counts = {"ready", "started", "processed", "completed"}
    batches, epochs = loops["epoch_loop.batch_progress"], loops["epoch_progress"]
    assert set(batches["total"]) == set(batches["current"]) == set(epochs["total"]) == set(epochs["current"]) == counts
    assert "is_last_batch" in batches
    assert "_batches_that_stepped" in loops["epoch_loop.state_dict"]
    assert "epoch_loop.val_loop.batch_progress" in loops


def test_a_validation_within_the_training_loop(fitted):
    """exact_resume: a pending validation is run as the loop runs one, and puts this value back."""
    trainer, _, observer = fitted
    assert observer.validations == [None, None]
    loop = trainer.fit_loop.epoch_loop
    assert isinstance(loop.val_loop.restarting, bool)
    assert callable(loop.val_loop.run)
    assert loop.max_steps == 5
    assert trainer.val_check_batch == 2
    assert callable(trainer._logger_connector.on_batch_end)
    assert callable(trainer._logger_connector.update_train_step_metrics)


def test_the_checkpoint_callback(fitted):
    """checkpoints: `last` is saved after each validation, and the best survives a folder that moves."""
    trainer, _, observer = fitted
    saver = trainer.checkpoint_callback
    assert saver._should_skip_saving_checkpoint(trainer) in (True, False)
    assert {"score", "step", "epoch"} <= set(observer.candidates)
    assert callable(saver._save_last_checkpoint)
    names = {"best_model_path", "kth_best_model_path", "last_model_path", "best_k_models", "dirpath"}
    assert names <= set(saver.state_dict())
    assert ModelCheckpoint.CHECKPOINT_NAME_LAST == "last"


def test_the_averages_keys(fitted):
    """ema, weights: the average is `state_dict`, the raw weights are `current_model_state`."""
    assert {"state_dict", "current_model_state", "averaging_state"} <= set(fitted[2].checkpoint)


def test_the_current_hook_is_noted_on_the_module(fitted):
    """module: `__setattr__` makes it cheap."""
    assert fitted[1].hooks_noted > 0


def test_an_optimizer_says_whether_it_undoes_the_scaling():
    """module: a fused optimizer would, and Lightning then refuses to clip gradients."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], fused=True)
    assert optimizer._step_supports_amp_scaling is True


def test_a_profiler_is_asked_at_every_hook():
    """profiler: its `profile` is replaced."""
    assert list(inspect.signature(PassThroughProfiler.profile).parameters) == ["self", "action_name"]


def test_the_connector_of_the_logs(fitted):
    """logged_steps: a subclass replaces it, and overrides these two."""
    kind = type(fitted[0]._logger_connector)
    assert kind is _LoggerConnector
    assert isinstance(kind.should_update_logs, property)
    assert list(inspect.signature(kind.log_metrics).parameters) == ["self", "metrics", "step"]
    assert fitted[0].fit_loop.epoch_loop._batches_that_stepped == 5


def test_the_writer_of_tensorboard(tmp_path):
    """tensorboard: hyperparameters are written as Lightning writes them, without its value of -1."""
    logger = TensorBoardLogger(tmp_path)
    assert callable(logger.experiment._get_file_writer().add_summary)
    assert logger._sanitize_params({"a": [1]}) == {"a": "[1]"}


def test_the_arguments_for_wandb(tmp_path):
    """weights_and_biases: `anonymous` is removed from them."""
    pytest.importorskip("wandb", reason="looks at the logger of wandb")
    assert "anonymous" in WandbLogger(save_dir=tmp_path, offline=True)._wandb_init
