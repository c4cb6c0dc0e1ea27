"""The statically read schema against the constructors themselves."""

import importlib
import inspect

import pytest
import yaml

from sr_lightning.config.conf_files import conf_dir
from sr_lightning.config.schema import LOSS, PERCEPTUAL, RUN_ARGUMENTS
from sr_lightning.config.signatures import parameters


def shipped():
    """(file, section) of every `_target_` in conf/."""
    from pathlib import Path

    found = []
    for path in sorted(Path(conf_dir()).rglob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        name = path.relative_to(conf_dir()).as_posix()

        def walk(node, name=name):
            if isinstance(node, dict):
                if "_target_" in node:
                    found.append((name, node))
                for value in node.values():
                    walk(value)

        walk(content)
    return found


TARGETS = sorted({section["_target_"] for _, section in shipped()} | {LOSS, PERCEPTUAL})


@pytest.mark.parametrize("target", TARGETS)
def test_read_statically_equals_inspected(target):
    module, _, name = target.rpartition(".")
    inspected = dict(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    static = parameters(target)
    assert static is not None
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in inspected.values()):
        assert static == {}  # nn.Module's own constructor takes anything only to refuse it
        return
    assert list(static) == list(inspected)
    for key, parameter in inspected.items():
        assert static[key].required == (parameter.default is inspect.Parameter.empty)


@pytest.mark.parametrize(("file", "section"), [pytest.param(f, s, id=f) for f, s in shipped()])
def test_each_shipped_yaml_lists_every_key_of_its_constructor(file, section):
    """Every choice is seen by `--cfg job`; only what the run itself gives, and foreign classes', may be missing."""
    accepted = set(parameters(section["_target_"]))
    given = {key for key in section if not key.startswith("_")}
    added = {"model": {"weights", "fresh", "adam_lr"}, "loss": {"weight"}}.get(file.partition("/")[0], set())
    assert given - accepted <= added
    if not section["_target_"].startswith("sr_lightning"):
        return
    missing = accepted - given - set(RUN_ARGUMENTS)
    if file.startswith(("scheduler/", "optimizer/")):
        missing -= {"optimizer", "max_steps", "params"}
    if file.startswith("data/") and file != "data/folder.yaml":
        missing = set()  # they stand on folder.yaml
    assert not missing


def test_the_yaml_of_the_loss_lists_every_key():
    from pathlib import Path

    content = yaml.safe_load(Path(conf_dir(), "loss", "composite.yaml").read_text())
    assert set(content) == set(parameters(LOSS))
    assert set(content["perceptual"]) == set(parameters(PERCEPTUAL))


def test_what_cannot_be_read_is_none(tmp_path, monkeypatch):
    (tmp_path / "foreign.py").write_text(
        "def takes_all(**kwargs): ...\nclass Plain:\n    def __init__(self, a, b: int = 1): ...\n"
        "class Child(Plain): ...\nalias = Plain\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert parameters("foreign.takes_all") is None
    assert parameters("foreign.nothing") is None
    assert parameters("no_such_package.Thing") is None
    assert parameters("Thing") is None
    assert list(parameters("foreign.Child")) == ["a", "b"]
