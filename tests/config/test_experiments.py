"""The experiments: their names, how deep they stand on each other, and their shorter and former names."""

import functools
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from sr_lightning.config.conf_files import conf_dir, register_resolvers

register_resolvers()
ROOT = Path(conf_dir(), "experiment")
EXPERIMENTS = sorted(str(path.relative_to(ROOT).with_suffix("")) for path in ROOT.glob("*/*.yaml"))
OTHER_NAMES = sorted(path.stem for path in ROOT.glob("*.yaml"))


def bases(name):
    """The experiments that one stands on, the nearest first."""
    defaults = yaml.safe_load((ROOT / f"{name}.yaml").read_text())["defaults"]
    found = [entry.removeprefix("/experiment/") for entry in defaults if isinstance(entry, str) and "/" in entry]
    return found + [base for name in found for base in bases(name)]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_says_how_it_is_used_and_stands_on_two_at_most(name):
    assert f"python -m sr_lightning.train experiment={name}" in (ROOT / f"{name}.yaml").read_text()
    assert len(bases(name)) <= 2
    composed = compose_experiment(name)
    if "_t291_" in name:
        assert composed.data.train_dir[0].endswith("train/T91")
        assert name.endswith((f"_x{composed.scale}", f"_x{composed.scale}_cycle2", f"_x{composed.scale}_cycle3"))


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_another_name_means_one_experiment(name):
    (meant,) = bases(name)[:1]
    assert meant in EXPERIMENTS
    assert compose_experiment(name) == compose_experiment(meant)


@functools.cache
def compose_experiment(name):
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return compose("train", [f"experiment={name}"])
