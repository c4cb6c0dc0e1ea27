"""When several processes stop together: tested without them, as one of two."""

import signal
from types import SimpleNamespace

import pytest
import torch

from sr_lightning.callbacks import SafeStop


class Trainer(SimpleNamespace):
    """One of two processes, as far as `SafeStop` looks at it."""

    def __init__(self):
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        super().__init__(accumulate_grad_batches=1, world_size=2, strategy=strategy, should_stop=False)


@pytest.mark.parametrize("own", [None, signal.SIGINT])
def test_both_stop_at_the_same_step_without_waiting_for_the_step(monkeypatch, tmp_path, own):
    """The sum is read a step after it was asked for, by when the device has long made it."""
    signals_of_the_other = iter([0, 1, 1])
    monkeypatch.setattr("torch.distributed.all_reduce", lambda flag: flag.add_(next(signals_of_the_other)))
    stop, trainer, stopped = SafeStop(folder=str(tmp_path)), Trainer(), []
    for step in range(3):
        if step == 1:
            stop._flag = own
        stop.on_train_batch_end(trainer, None, None, None, step)
        stopped.append(trainer.should_stop)
    assert stopped == [False, False, True]
    assert stop.stopped_by == (own or signal.SIGTERM)
