"""Configs of strangers, in checkpoints, run folders and YAML: data that names and looks up nothing (S2, S7)."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import sr_lightning.train
from helpers.hostile_files import Evil, run_of, zipped
from sr_lightning.checkpoints.weights import WeightsFile
from sr_lightning.config.compose import compose_jobs
from sr_lightning.config.conf_files import register_resolvers
from sr_lightning.config.overrides import quote_path
from sr_lightning.config.train import check_train
from sr_lightning.errors import UserError
from sr_lightning.runs.resume import find_resume
from sr_lightning.runs.saved_config import own_targets, read_saved_config, required_overrides
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")

# Each writes a file if it is called with the arguments below, or is a way to get at something that does.
TARGETS = [
    {"_target_": "builtins.open", "file": "canary", "mode": "w"},
    {"_target_": "io.open", "file": "canary", "mode": "w"},
    {"_target_": "os.mkdir", "path": "canary"},
    {"_target_": "os.makedirs", "name": "canary"},
    {"_target_": "os.system", "command": "touch canary"},
    {"_target_": "os.popen", "cmd": "touch canary"},
    {"_target_": "posix.system", "command": "touch canary"},
    {"_target_": "subprocess.run", "args": ["touch", "canary"]},
    {"_target_": "subprocess.Popen", "args": ["touch", "canary"]},
    {"_target_": "subprocess.check_output", "args": ["touch", "canary"]},
    {"_target_": "shutil.copy", "src": "/etc/hostname", "dst": "canary"},
    {"_target_": "shutil.copyfile", "src": "/etc/hostname", "dst": "canary"},
    {"_target_": "pathlib.Path.touch", "_args_": ["canary"]},
    {"_target_": "pathlib.Path.write_text", "_args_": ["canary", "x"]},
    {"_target_": "builtins.eval", "_args_": ["open('canary', 'w')"]},
    {"_target_": "builtins.exec", "_args_": ["open('canary', 'w')"]},
    {"_target_": "runpy.run_path", "path_name": "evil.py"},
    {"_target_": "importlib.import_module", "name": "evil"},
    {"_target_": "evil.Net"},
    {"_target_": "timeit.timeit", "stmt": "open('canary', 'w')"},
    {"_target_": "torch.load", "f": "evil.ckpt", "weights_only": False},
    {"_target_": "torch.save", "obj": 1, "f": "canary"},
    {"_target_": "torch.hub.load", "repo_or_dir": ".", "model": "evil", "source": "local"},
    {"_target_": "numpy.save", "file": "canary", "arr": [1]},
    {"_target_": "pickle.loads", "data": "x"},
    {"_target_": "hydra.utils.instantiate", "config": {"_target_": "os.mkdir", "path": "canary"}},
    {"_target_": "hydra.utils.call", "config": {"_target_": "os.mkdir", "path": "canary"}},
    {"_target_": "sr_lightning.checkpoints.weights.torch.save", "obj": 1, "f": "canary"},
    {"_target_": "sr_lightning.models.edsr.torch.save", "obj": 1, "f": "canary"},
    {"_target_": "sr_lightning.models.os.mkdir", "path": "canary"},
    {"_target_": "torch.optim.adam.torch.save", "obj": 1, "f": "canary"},
    {"_target_": "sr_lightning.models.EDSR", "scale": 4, "n_feats": {"_target_": "os.mkdir", "path": "canary"}},
    {"_target_": "sr_lightning.models.EDSR", "scale": [{"a": [{"_target_": "os.mkdir", "path": "canary"}]}]},
    {"_target_": "${oc.env:HOME}", "scale": 4},
    {"_target_": ["os.mkdir"], "path": "canary"},
]


def names(targets):
    return [f"{i}_{target['_target_']}" for i, target in enumerate(targets)]


@pytest.fixture
def evil_module(tmp_path, monkeypatch):
    """Files beside the run that do something when they are imported or unpickled."""
    (tmp_path / "evil.py").write_text("open('canary', 'w').close()\nclass Net: pass\n")
    (tmp_path / "hubconf.py").write_text("open('canary', 'w').close()\n")
    zipped(Evil(), tmp_path / "evil.ckpt")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("section", TARGETS, ids=names(TARGETS))
@pytest.mark.fault("S2", "refused, nothing is executed")
def test_S2_a_checkpoints_config_is_data(tmp_path, evil_module, section):
    config = {"model": section, "scale": [4]}
    torch.save(
        {"state_dict": {"a": torch.zeros(1)}, "sr_lightning": {"format": 1, "config": config}}, tmp_path / "a.ckpt"
    )
    with pytest.raises(UserError, match=r"a\.ckpt: (was saved with the network|the argument)"):
        _ = WeightsFile.read(tmp_path / "a.ckpt").network_config
    assert not Path("canary").exists()


@pytest.mark.parametrize("place", ["model", "callbacks.new", "loss.terms.new", "optimizer", "data.degradation"])
@pytest.mark.parametrize("section", TARGETS, ids=names(TARGETS))
@pytest.mark.fault("S2", "refused, nothing is executed")
def test_S2_a_saved_config_names_only_what_is_ours(tmp_path, evil_module, section, place):
    config = OmegaConf.create({"scale": 4})
    OmegaConf.update(config, place, section, force_add=True)
    OmegaConf.save(config, tmp_path / "config.yaml")
    (tmp_path / "overrides.yaml").write_text("[]\n")  # Hydra writes it last: the config is complete
    with pytest.raises(UserError, match=rf"{place}\..*(third-party classes|looks up)"):
        read_saved_config(tmp_path / "config.yaml", [])
    assert not Path("canary").exists()


LOOKUPS = [
    "${oc.env:SECRET_THING}",
    "x${oc.env:SECRET_THING}y",
    "${oc.env:SR_DATA,${oc.env:SECRET_THING}}",
    "${oc.decode:'{_target_: os.mkdir}'}",
    "${oc.create:{_target_:os.mkdir}}",
    "$${scale}{oc.env:SECRET_THING}",
    "$${oc.env:SR_DATA,data}{oc.env:SECRET_THING}",
    "${oc${oc.env:SR_DATA,data}.env:SECRET_THING}",
    "${package_dir:os}",
    "${ oc.env : SECRET_THING }",
]


@pytest.mark.parametrize("text", LOOKUPS)
@pytest.mark.fault("S2", "refused, nothing looked up")
def test_S2_a_saved_config_looks_nothing_up(tmp_path, monkeypatch, text):
    monkeypatch.setenv("SECRET_THING", "must not be seen")
    (tmp_path / "overrides.yaml").write_text("[]\n")
    (tmp_path / "config.yaml").write_text(f'scale: 4\nlogger:\n  a:\n    notes: "{text}"\n')
    with pytest.raises(UserError, match=r"logger\.a\.notes.*looks up|cannot be read") as caught:
        read_saved_config(tmp_path / "config.yaml", [])
    assert "must not be seen" not in str(caught.value)


@pytest.mark.fault("S2", "refused, until it is typed again")
def test_S2_a_strangers_run_is_refused_by_the_command_and_ones_own_goes_on(tmp_path, tiny, monkeypatch, capsys):
    run = run_of(tmp_path, tiny, monkeypatch, **{"model._target_": "mine.Net", "callbacks.x": {"_target_": "mine.C"}})
    assert main([f"ckpt_path={run}"]) == 2
    said = capsys.readouterr().err
    assert f"ckpt_path={run} callbacks.x._target_=mine.C model._target_=mine.Net" in said or (
        f"ckpt_path={run} model._target_=mine.Net callbacks.x._target_=mine.C" in said
    )
    again = [quote_path(f"ckpt_path={run}"), "model._target_=mine.Net", "callbacks.x._target_=mine.C"]
    for path in (run / "checkpoints").iterdir():
        path.unlink()  # then it begins again
    assert find_resume(run, again).config.model._target_ == "mine.Net"
    with pytest.raises(UserError, match="third-party classes"):
        find_resume(run, again[:2])
    with pytest.raises(UserError, match="was started with"):
        find_resume(run, [again[0], "model._target_=other.Net", again[2]])


@pytest.mark.parametrize("choice", ["", "model=vdsr", "adversarial=unet", "degradation=second_order", "callbacks=ema"])
def test_S2_what_our_own_configs_write_is_believed(tmp_path, monkeypatch, choice):
    monkeypatch.setattr(sr_lightning.train, "train", lambda config, run: 0.0)
    run = tmp_path / "run"
    arguments = [choice] if choice else []
    assert main([*arguments, "optimizer._target_=torch.optim.RAdam", f"hydra.run.dir={run}"]) == 0
    assert read_saved_config(run / ".hydra/config.yaml", []).scale == 4


def test_a_run_that_was_killed_while_its_config_was_written_begins_again(tmp_path, tiny, monkeypatch, capsys):
    monkeypatch.setattr(sr_lightning.train, "train", lambda config, run: 0.0)
    (tmp_path / "run/.hydra").mkdir(parents=True)
    (tmp_path / "run/.hydra/config.yaml").touch()
    assert main([f"ckpt_path={tmp_path / 'run'}"]) == 2
    assert "ended before it began" in capsys.readouterr().err
    assert main([*tiny, f"hydra.run.dir={tmp_path / 'run'}"]) == 0


@pytest.mark.parametrize("choice", [(), ("adversarial=srgan",)])
def test_S2_to_continue_a_run_of_ours_nothing_has_to_be_typed_again(choice):
    register_resolvers()
    (job,) = compose_jobs("train", list(choice), config_dir=None, config_name=None, is_sweep=False)
    assert required_overrides(asdict(check_train(job.config))) == []


def test_S2_examples_in_comments_are_not_ours():
    assert "sr_lightning.models.EDSR" in own_targets()
    assert not any(target.startswith("my_package") for target in own_targets())


YAML = [
    "!!python/object/apply:os.mkdir [canary]",
    "!!python/object/new:os.mkdir [canary]",
    "!!python/name:os.mkdir",
    "!!python/module:os",
    "!!python/object/apply:builtins.open {kwds: {file: canary, mode: w}}",
]


@pytest.mark.parametrize("value", YAML)
@pytest.mark.parametrize("entry", ["experiment", "primary", "saved"])
@pytest.mark.fault("S7", "status 2, nothing is executed")
def test_S7_yaml_makes_no_objects(tmp_path, capsys, entry, value):
    (tmp_path / "my/experiment").mkdir(parents=True)
    (tmp_path / "my/experiment/x.yaml").write_text(f"# @package _global_\nseed: {value}\n")
    (tmp_path / "my/mine.yaml").write_text(f"seed: {value}\n")
    run = tmp_path / "run"
    for name in (".hydra", "checkpoints"):
        (run / name).mkdir(parents=True)
    (run / ".hydra/config.yaml").write_text(f"seed: {value}\n")
    (run / "checkpoints/last.ckpt").touch()
    commands = {
        "experiment": ["--config-dir", "my", "experiment=x"],
        "primary": ["--config-dir", "my", "--config-name", "mine"],
        "saved": [f"ckpt_path={run}"],
    }
    assert main(commands[entry]) == 2
    said = capsys.readouterr().err
    assert "could not determine a constructor for the tag" in said
    assert "Traceback" not in said
    assert not Path("canary").exists()
