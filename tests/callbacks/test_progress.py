"""What is told while a network trains."""

import logging
import re
import signal
from types import SimpleNamespace

import pytest
import torch

from sr_lightning.callbacks import SafeStop
from sr_lightning.callbacks.pace import Pace, clock
from sr_lightning.callbacks.progress import Progress, _fitting
from sr_lightning.text import LOG_ONLY, is_for_screen
from sr_lightning.train import main


def test_a_steady_pace():
    pace = Pace(100, now=0.0)
    for second in range(1, 1001):
        pace.note(100 + 5 * second, now=float(second))
    assert pace.rate == pytest.approx(5.0)
    assert pace.left(10_100) == pytest.approx((10_100 - 5100) / 5)
    assert pace.elapsed == 1000


def test_a_pause_and_a_burst_move_what_is_left_a_little():
    """On a busy machine it jumped from two hours to two minutes."""
    pace, step = Pace(0, now=0.0), 0
    told = []
    for second in range(1, 2001):
        step += 0 if 1000 <= second < 1060 else 50 if second == 1500 else 5
        pace.note(step, now=float(second))
        if second > 200:
            told.append(pace.left(step + 36_000))  # always as many steps to go
    assert max(told) < 1.2 * 7200
    assert min(told) > 0.9 * 7200


def test_another_pace_is_followed():
    pace, step = Pace(0, now=0.0), 0
    for second in range(1, 4001):
        step += 10 if second <= 1000 else 1
        pace.note(step, now=float(second))
    assert pace.rate == pytest.approx(1.0, rel=0.01)


def test_nothing_is_known_before_the_first_step():
    assert Pace(5, now=0.0).left(10) is None
    assert [clock(seconds) for seconds in (None, 4.6, 245, 3845, 180_245)] == [
        "?",
        "0:05",
        "4:05",
        "1:04:05",
        "2 days, 2:04:05",
    ]


def test_the_least_important_facts_go_first():
    assert _fitting(["one", "two", "three"], 15) == "one  two  three"
    assert _fitting(["one", "two", "three"], 14) == "one  two"
    assert _fitting(["one", "two"], 1) == "one"


def test_a_run_without_a_terminal_tells_how_it_goes(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sr_lightning.callbacks.progress._LINE_SECONDS", 0.0)
    assert main([*tiny, "hydra.run.dir=a"]) == 0
    out, text = capsys.readouterr().out, (tmp_path / "a/train.log").read_text()
    for told in (out, text):
        assert re.search(r"step 2/4  0:0\d \+ \S+ left  \S+ steps/s  loss 0\.\d{4}\n", told)
        assert re.search(r"step 4/4  .* PSNR \d\d\.\d\d best \d\d\.\d\d", told)
        assert len(re.findall(r"step +[24]  loss 0\.\d{4}  PSNR-Y", told)) == 2
        assert told.count("4 steps in 0.") == 1
        assert "bicubic" in told
    assert re.search(r"into \S+\.rgb8", text)
    assert ".rgb8" not in out  # names of caches are for the log
    assert "python -m sr_lightning.evaluate checkpoint=a data=sample" in out
    assert "python -m sr_lightning.train ckpt_path=a trainer.max_steps=8" in out


def test_bicubic_is_the_same_at_every_validation(capsys):
    """Logged values are float32, and a difference of them moved bicubic's last digit from 31.473 to 31.474."""
    progress = Progress()
    for psnr, gain in ((32.075, 0.60151), (32.088, 0.61449)):
        metrics = {"val/psnr_y": torch.tensor(psnr), "val/gain": torch.tensor(gain)}
        trainer = SimpleNamespace(sanity_checking=False, callback_metrics=metrics, global_step=1000)
        progress.on_validation_end(trainer, None)
    first, second = re.findall(r"bicubic ([\d.]+)", capsys.readouterr().out)
    assert f"{32.075 - 0.60151:.3f}" != f"{32.088 - 0.61449:.3f}"
    assert first == second


def test_what_is_for_the_log_only():
    record = logging.makeLogRecord({"msg": "a"})
    assert is_for_screen(record)
    assert not is_for_screen(logging.makeLogRecord({"msg": "a", **LOG_ONLY}))


def test_signals_are_answered_at_once_and_by_one_process_only(capfd, monkeypatch):
    class Left(BaseException):
        """In place of the process's end."""

    def leave(status):
        raise Left(status)

    monkeypatch.setattr("os._exit", leave)
    for is_first in (True, False):
        stop = SafeStop(folder="a")
        stop.setup(None, None, "fit")
        stop.on_train_start(SimpleNamespace(is_global_zero=is_first, received_sigterm=False), None)
        try:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(Left, match="130"):
                signal.raise_signal(signal.SIGINT)
        finally:
            stop.teardown(None, None, "fit")
        said = capfd.readouterr().err.splitlines()
        starts = ["stopping after this step; saving a checkpoint", "stopping already", "ended at once"]
        assert len(said) == (3 if is_first else 0)
        assert all(line.startswith(start) for line, start in zip(said, starts, strict=False))
