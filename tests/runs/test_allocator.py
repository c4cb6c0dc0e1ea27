"""glibc's allocator: told once to keep large buffers, and left alone where that was not asked for or cannot be."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.evaluations import QUICK, mine
from sr_lightning import evaluate, train
from sr_lightning.errors import UserError
from sr_lightning.runs import allocator
from sr_lightning.runs.environment import environment

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
KEPT = "large buffers kept"


class Glibc:
    """A C library that writes down what it is told."""

    def __init__(self, accepts=1):
        self.accepts, self.calls = accepts, []

    def gnu_get_libc_version(self):
        """Only glibc has it."""

    def mallopt(self, parameter, value):
        self.calls.append((parameter, value))
        return self.accepts


@pytest.fixture
def glibc(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "SR_MALLOC", "GLIBC_", "LD_PRELOAD"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(allocator, "_setting", "default")
    library = Glibc()
    monkeypatch.setattr(allocator, "_glibc", lambda: library)
    return library


def test_both_thresholds_are_raised_on_the_cpu(glibc):
    allocator.keep_large_buffers("cpu")
    assert dict(glibc.calls).keys() == {MMAP_THRESHOLD, TRIM_THRESHOLD}
    assert min(value for _, value in glibc.calls) >= 2**30  # a feature map of 16 channels at 4096x4096
    assert environment("")["malloc"] == KEPT


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SR_MALLOC", "default"),
        ("MALLOC_MMAP_THRESHOLD_", "65536"),
        ("GLIBC_TUNABLES", "glibc.malloc.arena_max=1"),
        ("LD_PRELOAD", "/usr/lib/libjemalloc.so.2"),
    ],
)
def test_the_environment_may_choose_otherwise(glibc, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    allocator.keep_large_buffers("cpu")
    assert glibc.calls == []
    assert environment("")["malloc"] == "default"


def test_a_mistyped_variable_is_refused(glibc, monkeypatch):
    monkeypatch.setenv("SR_MALLOC", "off")
    with pytest.raises(UserError, match="SR_MALLOC: found 'off', allowed: default"):
        allocator.keep_large_buffers("cpu")
    assert glibc.calls == []


def test_a_run_on_a_gpu_is_left_alone(glibc, monkeypatch):
    allocator.keep_large_buffers("gpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    allocator.keep_large_buffers("auto")
    assert glibc.calls == []
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    allocator.keep_large_buffers("auto")
    assert glibc.calls


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_another_c_library_is_left_alone(monkeypatch, platform):
    """Musl has no `gnu_get_libc_version`; elsewhere no library is looked for."""
    monkeypatch.setattr(allocator, "_setting", "default")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", platform)
        patch.setattr("ctypes.CDLL", lambda name: object() if platform == "linux" else pytest.fail("looked for"))
        allocator.keep_large_buffers("cpu")
    assert allocator.malloc_setting() == "default"


def test_a_version_that_refuses_is_recorded_as_default(glibc):
    glibc.accepts = 0
    allocator.keep_large_buffers("cpu")
    assert allocator.malloc_setting() == "default"


@pytest.mark.skipif(not sys.platform.startswith("linux") or allocator._glibc() is None, reason="needs glibc")
@pytest.mark.parametrize("value", ["", "default"])
def test_a_freed_buffer_is_kept_by_this_machines_glibc(value):
    """A freed block of 256 MB stays in the process, where glibc's default gives it back; in a process of its own."""
    lines = f"""
import ctypes, sys
from sr_lightning.runs.allocator import keep_large_buffers
keep_large_buffers("cpu")
assert "torch" not in sys.modules
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
block = libc.malloc(ctypes.c_size_t({2**28}))
ctypes.memset(ctypes.c_void_p(block), 1, {2**28})
libc.free(ctypes.c_void_p(block))
print(int(open("/proc/self/statm").read().split()[1]) * {os.sysconf("SC_PAGE_SIZE")} >= {2**28})
"""
    plain = {name: text for name, text in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_PRE"))}
    found = subprocess.run(
        [sys.executable, "-c", lines], env=plain | {"SR_MALLOC": value}, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == str(value == "")


@pytest.mark.usefixtures("_hydras_logging")
@pytest.mark.parametrize(("variable", "setting"), [("", KEPT), ("default", "default")])
def test_results_of_both_commands_say_it(glibc, monkeypatch, tiny, folder, variable, setting):
    monkeypatch.setenv("SR_MALLOC", variable)
    assert train.main([*tiny, "trainer.max_steps=2", "hydra.run.dir=run"]) == 0
    calls = len(glibc.calls)
    assert evaluate.main(["model=bicubic", "scale=4", *mine(folder), *QUICK, "hydra.run.dir=scores"]) == 0
    assert (calls, len(glibc.calls)) == ((2, 4) if setting == KEPT else (0, 0))
    for name in ("run", "scores"):
        assert json.loads(Path(name, "results.json").read_text())["run"]["malloc"] == setting
