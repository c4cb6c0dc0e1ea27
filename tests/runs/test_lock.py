"""A folder's lock: who holds it, and where there is none."""

import errno
import fcntl
import os
import signal
import time

import pytest

from sr_lightning.runs.lock import locked


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12, where there are threads
@pytest.mark.fault("T12", "the next run may begin")
def test_a_killed_run_lets_go_though_its_workers_live(tmp_path):
    """The lock is the process's: a fork of it has none."""
    lock = locked(tmp_path, "x")
    lock.__enter__()
    began, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(told, b"x")
        time.sleep(20)
        os._exit(0)
    try:
        os.read(began, 1)
        lock.__exit__(None, None, None)
        with locked(tmp_path, "x"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, capsys):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked(tmp_path, "x"):
        pass
    assert "has no locks" in capsys.readouterr().out
