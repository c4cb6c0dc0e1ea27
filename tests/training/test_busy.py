"""What is said where other programs use the cores."""

from types import SimpleNamespace

import pytest
import torch

from sr_lightning.training import notices
from sr_lightning.training.notices import busy_notice


@pytest.fixture
def machine(monkeypatch):
    def make(*, cores, others, threads):
        monkeypatch.setattr(notices.os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
        monkeypatch.setattr(notices, "_running_elsewhere", lambda: others)
        monkeypatch.setattr(notices.torch, "get_num_threads", lambda: threads)
        return SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cpu")))

    return make


@pytest.mark.parametrize(
    ("cores", "others", "threads", "advised"),
    [(2, 0, 2, None), (2, 1, 2, 1), (2, 6, 2, 1), (2, 6, 1, None), (16, 4, 8, None), (16, 12, 8, 4)],
)
def test_threads_that_would_wait_for_each_other(machine, cores, others, threads, advised):
    told = busy_notice(machine(cores=cores, others=others, threads=threads))
    assert (told is None) if advised is None else f"OMP_NUM_THREADS={advised} before the command" in told
    if others == 6 and advised:
        assert told.startswith("other programs keep 2 of the 2 cores busy, and 2 threads would wait")


def test_a_gpu_does_the_work(machine):
    trainer = machine(cores=2, others=6, threads=2)
    trainer.strategy.root_device = torch.device("cuda")
    assert busy_notice(trainer) is None


def test_what_the_system_tells(monkeypatch):
    told = iter(["0.5 0.5 0.5 4/300 1", "0.5 0.5 0.5 1/300 1", *["0.5 0.5 0.5 3/300 1"] * 3])
    monkeypatch.setattr(notices.Path, "read_text", lambda path, encoding: next(told))
    monkeypatch.setattr(notices.time, "sleep", lambda seconds: None)
    assert notices._running_elsewhere() == 0  # the least: the others come and go
    monkeypatch.setattr(notices.Path, "read_text", lambda path, encoding: "none")
    assert notices._running_elsewhere() == 0
