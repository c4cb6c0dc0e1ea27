"""The folder of a new run: one of its own, never one that holds a run, and none where nothing began."""

import os
import signal
from pathlib import Path

import pytest

from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def test_two_runs_of_one_second_get_two_folders(tiny, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda *_: "2026-01-01_00-00-00")
    short = [*tiny, "trainer.max_steps=1", "trainer.val_check_interval=1"]
    assert main(short) == 0
    assert main(short) == 0
    assert sorted(path.name for path in Path("runs/train").iterdir()) == [
        "2026-01-01_00-00-00",
        "2026-01-01_00-00-00_2",
    ]


@pytest.mark.fault("T12", "refused")
def test_a_folder_that_holds_a_run_is_not_written_into(tiny, capsys):
    short = [*tiny, "trainer.max_steps=1", "trainer.val_check_interval=1", "hydra.run.dir=mine, a=b"]
    assert main(short) == 0
    before = Path("mine, a=b/metrics.csv").read_text()
    assert main(short) == 2
    assert "mine, a=b holds a run; allowed: a new folder, or ckpt_path=" in capsys.readouterr().err
    assert Path("mine, a=b/metrics.csv").read_text() == before


def test_a_run_that_never_began_leaves_no_folder(tiny, capsys):
    assert main([*tiny, "data.patch_size=500"]) == 2
    assert "needs images of 2000 pixels" in capsys.readouterr().err
    assert list(Path("runs/train").iterdir()) == []


@pytest.mark.fault("T4", "a line, status 128 and the signal's number, no folder")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("sweep", [[], ["-m", "loss.beta=0,0.1"]], ids=["run", "sweep"])
def test_a_run_that_is_stopped_before_it_begins_leaves_no_folder(tiny, number, sweep, monkeypatch, capsys):
    monkeypatch.setattr("sr_lightning.runs.environment.quiet", lambda: os.kill(os.getpid(), number))  # the first call
    before = signal.getsignal(signal.SIGTERM)
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        assert main([*tiny, *sweep]) == 128 + number
    finally:
        signal.signal(signal.SIGINT, interrupt)
    assert signal.getsignal(signal.SIGTERM) == before
    out, err = capsys.readouterr()
    assert err.count("interrupted") == 1
    assert "the run did not begin; its folder" in out
    assert not list(Path("runs").rglob(".hydra"))
    assert bool(sweep) == ("interrupted" in out)  # the table of the sweep


@pytest.mark.fault("T6", "refused at the start")
def test_a_folder_for_runs_that_cannot_be_made_is_named(tiny, capsys):
    Path("file").touch()
    assert main([*tiny, "paths.runs=file"]) == 2
    assert "paths.runs: cannot create file/train" in capsys.readouterr().err
