"""NaN and infinity in loss, gradient or image: the run ends before anything of them is saved."""

from pathlib import Path

import pytest
import torch

from helpers.faulty_runs import Fault, Spoiling, checked, content, run
from sr_lightning.builders import training
from sr_lightning.callbacks import ExactResume, NonFiniteGuard
from sr_lightning.errors import TrainingFailedError
from sr_lightning.loggers.metrics_csv import MetricsCsv
from sr_lightning.runs.run import Run

pytestmark = pytest.mark.usefixtures("_small_runs")


@pytest.mark.fault("T7", "stopped, checkpoints finite")
def test_one_bad_gradient_element_ends_the_run_before_the_step():
    def spoil(trainer, module):
        module.net.body[2].weight.grad[0, 0, 0, 0] = float("nan")

    with pytest.raises(TrainingFailedError, match=r"a gradient is not finite at step 4: gradient"):
        run(checked(), "a", Spoiling(spoil, 4))
    assert content("a")["global_step"] == 4
    assert all(torch.isfinite(value).all() for value in content("a")["state_dict"].values())


@pytest.mark.fault("T7", "stopped, the best finite")
def test_an_image_that_is_no_number_never_becomes_the_best():
    """In the validation only: PSNR is taken of 8 bits, which hold no NaN."""

    def spoil(trainer, module):
        module.net.register_forward_hook(lambda net, _, out: out if net.training else out * float("nan"))

    with pytest.raises(TrainingFailedError, match=r"output is not finite at step 4: image 1\.png of heldout at x2"):
        run(checked(), "a", Fault("on_train_batch_end", 3, spoil))
    assert content("a", "best")["global_step"] == content("a")["global_step"] == 2


def test_guards_are_on_by_default():
    config = checked()
    callbacks = training.build_callbacks(config, Run(Path("a"), "x"), csv=MetricsCsv("a"), started=0.0)
    assert {NonFiniteGuard, ExactResume} <= {type(callback) for callback in callbacks}


def finite(folder):
    return all(
        torch.isfinite(value).all()
        for name in ("last", "best")
        for value in content(folder, name)["state_dict"].values()
    )


@pytest.mark.fault("T7", "stopped before anything of it is saved")
@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_a_loss_that_is_no_number(value):
    def spoil(trainer, module):
        module.net.register_forward_hook(lambda net, _, out: out * value)

    with pytest.raises(TrainingFailedError, match=r"the loss is not finite at step [34]: pixel"):
        run(checked(), "a", Fault("on_train_batch_start", 3, spoil))
    assert content("a")["global_step"] == 2
    assert finite("a")


@pytest.mark.fault("T7", "stopped, and the optimizer's own complaint does not come first")
def test_no_optimizer_sees_what_is_no_number():
    """SOAP takes the eigenvectors of its first gradient."""

    def spoil(trainer, module):
        module.net.register_forward_hook(lambda net, _, out: out * float("nan"))

    with pytest.raises(TrainingFailedError, match=r"the loss is not finite at step [01]: pixel"):
        run(checked("optimizer=soap"), "a", Fault("on_train_batch_start", 0, spoil))


@pytest.mark.fault("T7", "stopped before the step")
def test_a_gradient_that_is_infinite():
    def spoil(trainer, module):
        module.net.body[0].bias.grad[3] = float("inf")

    with pytest.raises(TrainingFailedError, match="a gradient is not finite at step 3"):
        run(checked(), "a", Spoiling(spoil, 3))
    assert content("a")["global_step"] == 2
    assert finite("a")
