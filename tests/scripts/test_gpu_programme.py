"""The programme for a GPU: its clock, its failures, its file and its table, with sections that take no time."""

import importlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MAINTENANCE = Path(__file__).parents[2] / "scripts" / "maintenance"
pytestmark = pytest.mark.skipif(not MAINTENANCE.is_dir(), reason="needs a checkout")
STUB = """
import json, pathlib, sys, time
name, part = sys.argv[1], pathlib.Path(sys.argv[3])
figure = {"what": "steps", "value": 2.5, "unit": "x", "beside": "7 MB", "goal": ">= 2", "is_met": True}
part.write_text(json.dumps({"figures": [figure], "details": {"now": "the second half", "counts": {"failed": 0}}}))
if name == "training":
    raise ValueError("no luck in /home/somebody/secret/file.py")
if name == "waiting":
    time.sleep(60)
if name == "profile":
    import os
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def programme(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(MAINTENANCE))
    module = importlib.import_module("gpu_programme")
    (tmp_path / "gpu_sections.py").write_text(STUB)
    monkeypatch.setattr(module, "HERE", tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    yield module
    signal.signal(signal.SIGTERM, before)


def document():
    return json.loads(Path("gpu.json").read_text())


@pytest.mark.slow
def test_sections_that_fail_or_take_too_long_end_nothing(programme, capsys):
    names = ["environment", "training", "waiting", "upscaling", "profile"]
    started = time.monotonic()
    assert programme.main(["--small", "--minutes", "0.35", "--only", *names]) == 1
    assert time.monotonic() - started < 40
    found = document()["sections"]
    assert {name: one["status"] for name, one in found.items()} == {
        "environment": "done",
        "training": "failed",
        "waiting": "out of time",
        "upscaling": "done",
        "profile": "failed",
    }
    assert found["training"]["reason"] == "ValueError: no luck in …/file.py"
    assert found["waiting"]["reason"].endswith("s, in the second half")
    assert found["profile"]["reason"] == "ended by signal 9 (SIGKILL)"
    assert all(one["figures"][0]["value"] == 2.5 for one in found.values())  # what was found until then
    out = capsys.readouterr().out
    assert "2.5 x, 7 MB" in out
    assert ">= 2 met" in out
    assert max(map(len, out.splitlines())) <= 80


def test_what_is_missing_is_said_at_the_start_with_what_it_costs(programme, monkeypatch, capsys):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n in ("hydra", "spandrel") else real(n))
    assert programme.main(["--small", "--only", "environment", "waiting"]) == 1
    out = capsys.readouterr().out
    assert "not installed: spandrel; this costs no section" in out
    assert "not installed: hydra; this costs tests, training, waiting, upscaling, profile" in out
    found = document()
    assert found["programme"]["missing"] == ["hydra", "spandrel"]
    assert (found["sections"]["waiting"]["status"], found["sections"]["environment"]["status"]) == ("skipped", "done")
    assert found["sections"]["waiting"]["reason"] == "needs hydra"


def test_a_programme_that_is_stopped_leaves_what_it_has_and_no_process(programme, tmp_path):
    script = f"import sys; sys.path.insert(0, {str(MAINTENANCE)!r}); import gpu_programme as p, pathlib\n"
    script += f"p.HERE = pathlib.Path({str(tmp_path)!r})\n"
    script += "sys.exit(p.main(['--small', '--only', 'environment', 'waiting']))"
    process = subprocess.Popen([sys.executable, "-c", script])
    until = time.monotonic() + 60
    while time.monotonic() < until and not list(tmp_path.rglob("gpu.json")):
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert document()["sections"]["environment"]["status"] == "done"
    assert not [p for p in Path("/proc").glob("[0-9]*") if str(tmp_path) in _command(p)]


def _command(process):
    try:
        return (process / "cmdline").read_bytes().decode().replace("\0", " ")
    except OSError:
        return ""


def test_a_file_of_the_users_is_not_overwritten(programme, capsys):
    Path("gpu.json").write_text("[1]")
    with pytest.raises(SystemExit) as caught:
        programme.main(["--small"])
    assert caught.value.code == 2
    assert "is no file of this programme" in capsys.readouterr().err
    assert Path("gpu.json").read_text() == "[1]"


def test_names_of_the_machine_its_user_and_folders_are_left_out(programme, monkeypatch):
    monkeypatch.setattr(programme.socket, "gethostname", lambda: "node17")
    assert programme.anonymous("node17: /a/b/c.py is 3 MP/s, and 1/2") == "…: …/c.py is 3 MP/s, and 1/2"
    assert programme.anonymous("tests/data/test_x.py::test[a/b/c]") == "tests/data/test_x.py::test[a/b/c]"
    assert programme.cleaned({"x": ["/tmp/q/w", 1.5, None]}) == {"x": ["…/w", 1.5, None]}


def test_figures_of_training_are_noted_after_each_turn(programme, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(MAINTENANCE.parent / "benchmarks"))
    real, trained = (importlib.import_module(name) for name in ("gpu_speed", "bench_train"))
    found = real.Findings(tmp_path / "part.json", "cpu", is_small=False)
    known = []

    def run(wall):
        known.append([one["what"] for one in json.loads(found.path.read_text())["figures"]])
        return trained.Timed(wall, 0.0, 0.0)

    def fails():
        raise ValueError("no memory\nat all")

    turns = [(real.OURS, lambda: run(10.0)), (real.PLAIN, lambda: run(30.0)), ("ours, fp16", fails)]
    real._take_turns(found, [*turns, *turns])
    assert known[1:3] == [[real.OURS], [real.OURS, "  the float32 NCHW loop takes", real.PLAIN, "ours, fp16"]]
    figures = {one.what: one for one in found.figures}
    ratio = figures["  the float32 NCHW loop takes"]
    assert (ratio.value, ratio.goal, ratio.is_met) == (3.0, ">= 2", True)
    assert figures["ours, fp16"].value == "failed: ValueError: no memory"


def test_idle_time_is_what_no_kernel_covers(programme):
    profile = importlib.import_module("gpu_profile")
    events = [
        {"cat": "kernel", "name": "a", "ts": 0, "dur": 40},
        {"cat": "kernel", "name": "b", "ts": 20, "dur": 40},  # beside the first
        {"cat": "gpu_memcpy", "name": "copy", "ts": 90, "dur": 10},
        {"cat": "cpu_op", "name": "x", "ts": 0, "dur": 1000},
    ]
    seen = profile.summarised(events, ("kernel", "gpu_memcpy"), 2)
    assert seen.idle == pytest.approx(0.3)
    assert (seen.milliseconds, seen.kernels) == (0.05, 1.5)
    assert [(k.name, k.calls) for k in seen.costliest] == [("a", 1), ("b", 1), ("copy", 1)]
    assert seen.costliest[2].share == pytest.approx(10 / 90)
    with pytest.raises(ValueError, match="no kernel"):
        profile.summarised(events[3:], ("kernel",), 2)


@pytest.mark.slow
def test_a_training_is_begun_then_continued_and_stopped_with_its_state_saved(programme, monkeypatch, tmp_path, capsys):
    training = importlib.import_module("gpu_training")
    call = training.command(tmp_path / "run", is_small=False, overrides=["compile=true"])
    assert call[3:] == [training.EXPERIMENT, "logger=csv", f"hydra.run.dir={tmp_path / 'run'}", "compile=true"]
    (tmp_path / "run/.hydra").mkdir(parents=True)
    again = training.command(tmp_path / "run", is_small=False, overrides=["compile=true"])
    assert again[3:] == [f"ckpt_path={tmp_path / 'run'}"]
    saves = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(143))\ntime.sleep(60)"
    monkeypatch.setattr(training, "command", lambda *_, **__: [sys.executable, "-c", saves])
    monkeypatch.setattr(training, "_TO_SAVE", 0)
    assert training.train_until(tmp_path / "run", minutes=0.05, is_small=False, overrides=[]) == 0
    assert "the same command continues it" in capsys.readouterr().out
    monkeypatch.setattr(training, "command", lambda *_, **__: [sys.executable, "-c", "import time; time.sleep(60)"])
    assert training.train_until(tmp_path / "run", minutes=0.01, is_small=False, overrides=[]) == 1
    assert "stopped before its first step" in capsys.readouterr().out
    monkeypatch.setattr(training, "command", lambda *_, **__: [sys.executable, "-c", "import sys; sys.exit(2)"])
    assert training.train_until(tmp_path / "run", minutes=1, is_small=False, overrides=[]) == 2
    (tmp_path / "run/results.json").touch()
    assert training.train_until(tmp_path / "run", minutes=1, is_small=False, overrides=[]) == 0
    assert "finished" in capsys.readouterr().out
