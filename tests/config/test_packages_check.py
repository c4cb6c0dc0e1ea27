"""Parts of Lightning's that want a package."""

import importlib
import importlib.util
import inspect
import re

import pytest

from sr_lightning.config import packages_check
from sr_lightning.config.packages_check import package_findings
from sr_lightning.train import main


def test_a_missing_package_is_named_before_anything_is_imported(monkeypatch, capsys, folder):
    monkeypatch.setattr(packages_check, "is_importable", lambda module: False)
    callback = "+callbacks.mine={_target_: lightning.pytorch.callbacks.DeviceStatsMonitor}"
    logger = "+logger.mine={_target_: lightning.pytorch.loggers.TensorBoardLogger, save_dir: logs}"
    assert main([callback, logger]) == 2
    said = capsys.readouterr().err
    assert (
        "callbacks.mine: DeviceStatsMonitor needs a package that is not installed; allowed: `pip install psutil`"
        in said
    )
    assert "logger.mine: TensorBoardLogger needs" in said
    assert "`pip install tensorboard` or `pip install tensorboardX` first" in said


def test_what_is_there_is_not_refused(monkeypatch):
    section = {"mine": {"_target_": "lightning.pytorch.callbacks.DeviceStatsMonitor"}}
    monkeypatch.setattr(packages_check, "is_importable", lambda module: module == "psutil")
    assert not list(package_findings("callbacks", section))
    monkeypatch.setattr(packages_check, "is_importable", lambda module: False)
    assert not list(package_findings("callbacks", section, on_gpu=True))
    assert list(package_findings("callbacks", {"mine": section["mine"] | {"cpu_stats": True}}, on_gpu=True))
    assert not list(package_findings("callbacks", {"mine": {"_target_": "mine.DeviceStatsMonitor"}, "none": None}))


@pytest.mark.parametrize("where", ["callbacks", "loggers"])
def test_every_part_that_wants_a_package_is_known(where):
    """Lightning tells by a `RequirementCache`, or by an error, in the part's own file."""
    package = importlib.import_module(f"lightning.pytorch.{where}")
    wanting = set()
    for name in package.__all__:
        source = inspect.getsource(inspect.getmodule(getattr(package, name)))
        if re.search(r"\n_\w+_AVAILABLE = RequirementCache|raise ModuleNotFoundError", source):
            wanting.add(name)
    assert wanting
    assert wanting <= set(packages_check._WANTED)
