"""Training images on their way: workers that die, hang or have no room, images that vanish, ranks that see others."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from helpers.faulty_runs import Fault, assert_same, checked, content, go_on, run
from sr_lightning.data.cache.store import OnDemand
from sr_lightning.data.datasets import TrainSamples
from sr_lightning.data.sampling.loader import dead_workers_ignored
from sr_lightning.errors import FailedError, TrainingFailedError, UserError

pytestmark = pytest.mark.usefixtures("_small_runs")


@pytest.mark.parametrize("fault", ["dies", "hangs"])
@pytest.mark.fault("T9", "ended in time, the samples named, bit-equal after")
def test_a_worker_that_dies_or_hangs_ends_the_run_and_names_the_samples(straight_run, monkeypatch, fault):
    real = TrainSamples.__getitem__

    def broken(self, request):
        if 12 in request.samples and torch.utils.data.get_worker_info():
            while not Path("stepped").exists():  # before the first step there is nothing to save
                time.sleep(0.01)
            if fault == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(1000)
        return real(self, request)

    more = ["data.num_workers=1", "data.worker_timeout=2"]
    config, straight = checked(*more), straight_run(*more)
    with monkeypatch.context() as patch:
        patch.setattr(TrainSamples, "__getitem__", broken)
        stepped = Fault("on_train_batch_start", 1, lambda *_: Path("stepped").touch())
        with pytest.raises(TrainingFailedError, match=r"data: .*data\.num_workers=0") as caught:
            run(config, "a", stepped)
    if fault == "hangs":
        assert "the samples range(12, 16) did not come" in str(caught.value)
    assert content("a")["global_step"] in (1, 2, 3)  # batches are fetched ahead
    go_on(config, "a")
    assert_same(straight.folder, "a")


@pytest.mark.fault("P2", "refused, the processes named")
def test_processes_that_see_other_images_refuse_to_start(monkeypatch):
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)

    def gathered(everyone, own):
        everyone[:] = [own, [*own[:-1], "another"]]

    monkeypatch.setattr("torch.distributed.all_gather_object", gathered)
    with pytest.raises(UserError, match="process 0 and the processes 1 see different images"):
        run(checked(), "a")


@pytest.mark.fault("T5", "refused at the start, not waited for")
def test_too_little_shared_memory_for_workers(monkeypatch):
    """A worker that finds no room for its batch would only print so."""
    monkeypatch.setattr("sr_lightning.data.sampling.loader._SHARED", "/nowhere")  # as small as it can be
    with pytest.raises(UserError, match=r"data\.num_workers: found 1, .* but /nowhere has 0\.0; allowed: data\.num_w"):
        run(checked("data.num_workers=1"), "a")
    run(checked(), "b")  # without workers nothing is handed over


@pytest.mark.fault("T9", "the state is saved all the same")
def test_a_dead_worker_does_not_disturb_the_last_save():
    def handler(*_):
        raise RuntimeError("DataLoader worker is killed")

    before = signal.signal(signal.SIGCHLD, handler)
    try:
        with dead_workers_ignored():
            subprocess.run(["true"], check=True)
        assert signal.getsignal(signal.SIGCHLD) is handler
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.fault("D23", "the step before is saved, the file named; bit-equal once it is back")
@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_vanishes_while_it_is_trained_on(monkeypatch, workers):
    monkeypatch.setitem(OnDemand.__init__.__kwdefaults__, "kept_bytes", 1)  # else so small a set is kept in memory
    config = checked("data.store_limit_gb=0", f"data.num_workers={workers}")
    run(config, "straight")
    trained = sorted(Path("pictures").iterdir())
    away = Path("away")
    away.mkdir()

    def vanish(*_):
        for path in trained:
            path.rename(away / path.name)

    with pytest.raises(FailedError, match=r"data: cannot read .*pictures/.*put back what was there"):
        run(config, "a", Fault("on_train_batch_end", 2, vanish))
    assert content("a")["global_step"] >= 2
    for path in trained:
        (away / path.name).rename(path)
    go_on(config, "a")
    assert_same("straight", "a")
