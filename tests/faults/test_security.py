"""No file that the project opens runs anything (S1, S2, S7), and no secret reaches a file (S5); S3, S4: downloads."""

import importlib
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

import sr_lightning.train
from helpers.hostile_files import Evil, bare, legacy, tarred, zipped
from sr_lightning.callbacks.pictures import safe_stem
from sr_lightning.checkpoints.weights import WeightsFile
from sr_lightning.config.compose import compose_jobs
from sr_lightning.config.conf_files import register_resolvers
from sr_lightning.config.overrides import quote_path
from sr_lightning.config.secrets import secret_findings, typed_secrets
from sr_lightning.config.train import check_train
from sr_lightning.errors import UserError
from sr_lightning.image.decoder import decode
from sr_lightning.losses import LPIPSLoss
from sr_lightning.metrics.backbones import VGGFeatures
from sr_lightning.runs.resume import find_resume
from sr_lightning.runs.saved_config import own_targets, read_saved_config, required_overrides
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def start(*overrides):
    """A whole command up to the first step."""
    return main([*overrides, "trainer=cpu", "logger=csv", "trainer.max_steps=1"])


def run_of(tmp_path, tiny, monkeypatch, **changes):
    """A stranger's run folder, its config as Hydra writes it, its checkpoint a file of any content."""
    monkeypatch.setattr(sr_lightning.train, "train", lambda config, run: 0.0)
    assert main([*tiny, f"hydra.run.dir={tmp_path}/stranger"]) == 0
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "stranger"
    (run / "checkpoints").mkdir()
    torch.save({"state_dict": {}}, run / "checkpoints/last.ckpt")
    saved = run / ".hydra/config.yaml"
    config = OmegaConf.load(saved)
    for key, value in changes.items():
        OmegaConf.update(config, key, value, force_add=True)
    OmegaConf.save(config, saved)
    return run


WRITERS = {"zip": zipped, "legacy": legacy, "bare": bare, "tar": tarred}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("entry", ["backbone_vgg19", "lpips_alex", "lpips_vgg", "lpips_squeeze"])
@pytest.mark.fault("S1", "nothing is executed")
def test_S1_weights_of_a_loss_run_nothing(tmp_path, monkeypatch, write, entry):
    """Checkpoints and `model.weights`: test_checkpoint; the metrics' weights: test_quality."""
    from sr_lightning.losses.lpips import _FILES

    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    hub = tmp_path / "hub/checkpoints"
    hub.mkdir(parents=True)
    kind, _, name = entry.partition("_")
    path = hub / _FILES[name] if kind == "lpips" else tmp_path / "evil.pth"
    WRITERS[write]({"features.0.weight": torch.zeros(1), "evil": Evil()}, path)
    with pytest.raises(UserError, match=rf"{path.name} cannot be read"):
        LPIPSLoss(name) if kind == "lpips" else VGGFeatures(name, weights=str(path))
    assert not Path("canary").exists()


@pytest.mark.parametrize("entry", ["ckpt_path", "model.weights"])
@pytest.mark.fault("S1", "status 2, nothing is executed")
def test_S1_a_command_that_is_given_an_evil_file_runs_nothing(tmp_path, tiny, monkeypatch, capsys, entry):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    content = {"state_dict": {"net.head.weight": Evil()}, "hyper_parameters": {"_instantiator": "os.system"}}
    if entry == "ckpt_path":
        run = run_of(tmp_path, tiny, monkeypatch)
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        zipped(content, run / "checkpoints/last.ckpt")
        assert main([f"ckpt_path={run}"]) == 2
    else:
        zipped(content, tmp_path / "evil.ckpt")
        assert main([*tiny, f"model.weights={tmp_path}/evil.ckpt"]) == 2
    said = capsys.readouterr().err
    assert "cannot be read as a checkpoint of plain data" in said
    assert "Traceback" not in said
    assert not Path("canary").exists()


@pytest.mark.fault("S1", "refused, nothing is executed")
def test_S1_an_image_is_never_a_program(tmp_path, monkeypatch):
    """PostScript is one, and Pillow would hand it to Ghostscript under any name."""
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was called"))
    (tmp_path / "a.png").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n%%EOF\n"
    )
    Image.preinit()
    with pytest.raises(UserError, match=r"a\.png: is not an image"):
        decode(tmp_path / "a.png")


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


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("img_001.png", "img_001"),
        ("größe (1), a=b.png", "größe (1), a=b"),
        ("../../x.png", "x"),
        ("a/../b.png", "b"),
        ("dots...png", "dots___3"),
        ("..%2fup.png", "___2fup_3"),
        ("-rf.png", "_rf_3"),
        ("<img src=x onerror=alert(1)>.png", "_img src=x onerror=alert(1)__3"),
        ("</script>.png", "script__3"),
        ("$(touch canary).png", "_(touch canary)_3"),
        ("new\nline\x1b[2J.png", "new_line__2J_3"),
        ("€" * 80 + ".png", "_" * 40 + "_3"),
        ("ü" * 80 + ".png", "ü" * 40 + "_3"),
    ],
    ids=ascii,
)
@pytest.mark.fault("S8", "a plain name in the folder")
def test_S8_the_name_of_a_sheet_comes_from_any_name(name, stem):
    assert safe_stem(name, 3) == stem
    assert len(f"step0000000_set_x4_{stem}.png.part".encode()) < 255


# -- S5 ----------------------------------------------------------------------------------------------

KEYS = {
    "wandb": "0123456789abcdef0123456789abcdef01234567",
    "wandb_new": "wandb_v1_" + "aB3" * 20,
    "hf": "hf_" + "aBcD1" * 7,
    "github": "ghp_" + "aBcD1" * 7,
    "openai": "sk-proj-" + "aBcD1" * 7,
    "amazon": "AKIA" + "ABCD" * 4,
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize(
    "key", ["logger.wandb.notes", "+logger.wandb.api_key", "+hydra.job.env_set.WANDB_API_KEY", "+x"]
)
@pytest.mark.fault("S5", "refused, not repeated")
def test_S5_a_typed_secret_is_refused_and_not_repeated(tmp_path, capsys, kind, key):
    assert main([f"{key}={KEYS[kind]}"]) == 2
    said = capsys.readouterr()
    assert f"{key}: looks like a secret" in said.err
    assert KEYS[kind] not in said.err + said.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("S5", "refused, not repeated")
def test_S5_the_value_of_a_variable_that_is_a_secret(monkeypatch, capsys):
    monkeypatch.setenv("MY_SERVICE_PASSWORD", "correct horse")
    assert main(["logger.wandb.notes='it is correct horse'"]) == 2
    assert main(["logger.wandb.notes=${oc.env:MY_SERVICE_PASSWORD}"]) == 2
    said = capsys.readouterr().err
    assert said.count("logger.wandb.notes: looks like a secret") == 2
    assert "correct horse" not in said


def test_S5_what_is_no_secret():
    harmless = ["+model.mask_token=true", "logger.wandb.notes=a note", "data.train_dir=/data/0123456789abcdef", "-m"]
    assert list(typed_secrets([*harmless, "hydra.run.dir=" + "/x" * 20, "+model.tokens=16", "scale=2,3"])) == []
    assert list(secret_findings({"a": [1, None, True, "0123456789abcdef"], "b": {"c": "x" * 40}})) == []


LOOKED_UP = "shared/secret-9f3a.value"


@pytest.mark.parametrize(
    ("command", "override"),
    [
        ("train", "hydra.run.dir=runs/x_{}"),
        ("train", "hydra.sweep.dir=runs/x_{}"),
        ("train", "hydra.job.name={}"),
        ("train", "+hydra.job.env_set.MINE={}"),
        ("train", "paths.runs={}"),
        ("train", "seed={}"),
        ("train", "data.train_dir={}"),
        ("train", "+data.test.Mine={}"),
        ("train", "logger.wandb.notes='a {} b'"),
        ("evaluate", "hydra.run.dir=runs/x_{}"),
        ("evaluate", "checkpoint={}"),
        ("preview", "preview.output={}.png"),
        ("check_data", "check_data.output={}.json"),
        ("pack", "output={}"),
    ],
)
@pytest.mark.fault("S12", "refused, in no folder's name, no file and not on the screen")
def test_S12_a_secret_that_is_looked_up(tmp_path, monkeypatch, capsys, override, command):
    monkeypatch.setenv("SOME_API_KEY", LOOKED_UP)
    run = importlib.import_module(f"sr_lightning.{command}").main
    assert run([override.format("${oc.env:SOME_API_KEY}")]) == 2
    said = capsys.readouterr()
    assert ": looks like a secret" in said.err
    assert LOOKED_UP not in said.err + said.out
    assert "loading" not in said.out
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.fault("S12", "refused when a run continues, too")
def test_S12_a_secret_that_is_looked_up_when_a_run_continues(tmp_path, tiny, monkeypatch, capsys):
    run = run_of(tmp_path, tiny, monkeypatch)
    monkeypatch.setenv("SOME_API_KEY", LOOKED_UP)
    before = sorted(tmp_path.rglob("*"))
    for override in ("hydra.job.name=${oc.env:SOME_API_KEY}", "callbacks.pictures.zoom=${oc.env:SOME_API_KEY}"):
        assert main([f"ckpt_path={run}", override]) == 2
        said = capsys.readouterr()
        assert LOOKED_UP not in said.err + said.out
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.fault("S12", "refused, not printed")
def test_S12_a_secret_that_a_printed_config_would_show(monkeypatch, capsys):
    monkeypatch.setenv("SOME_API_KEY", LOOKED_UP)
    assert main(["--cfg", "job", "--resolve", "logger.wandb.notes=${oc.env:SOME_API_KEY}"]) == 2
    assert main(["--cfg", "job", "logger.wandb.notes=${oc.env:SOME_API_KEY}"]) == 0
    said = capsys.readouterr()
    assert LOOKED_UP not in said.out + said.err
    assert "notes: ${oc.env:SOME_API_KEY}" in said.out


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("text", ["my token is {}", "use {}, it is the key"])
@pytest.mark.fault("S12", "refused, not repeated")
def test_S12_a_secret_inside_a_longer_text(capsys, kind, text):
    assert len(list(secret_findings({"a": [text.format(KEYS[kind])]}))) == 1
    assert main([f"logger.wandb.notes='{text.format(KEYS[kind])}'"]) == 2
    said = capsys.readouterr()
    assert "logger.wandb.notes: looks like a secret" in said.err
    assert KEYS[kind] not in said.err + said.out


@pytest.mark.parametrize(
    "text",
    [
        "glpat-" + "aB3-" * 6,
        "AIza" + "aB3d5" * 7,
        "xoxb-123456789012-abcdef",
        "https://user:correct-horse@example.org/set",
        "-----BEGIN RSA PRIVATE KEY-----",
        "github_pat_" + "aB3d5" * 6,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc",
        "local-" + "0123456789" * 4,
    ],
)
@pytest.mark.fault("S12", "refused")
def test_S12_further_kinds_of_secrets(text):
    assert len(list(secret_findings({"a": text}))) == 1
    assert len(list(secret_findings({text: 1}))) == 1


def test_S12_texts_that_only_look_alike():
    commit = "0123456789abcdef0123456789abcdef01234567"
    for text in (
        f"as in commit {commit}",
        f"/data/{commit}/images",
        "runs/sk-learn-features-and-others-2026",
        "task-hf_notes",
        "s3://bucket/div2k",
        "https://example.org/a:b@c",
        "torch.optim.lr_scheduler.StepLR",
        "the token shuffle of 2026",
    ):
        assert list(secret_findings({"a": text})) == [], text


@pytest.mark.fault("S5", "in no file of a run")
def test_S5_no_secret_of_the_environment_reaches_a_file(tiny, tmp_path, monkeypatch):
    """Everything that a run writes, in every logger, W&B's offline folder and the checkpoints included."""
    secrets = {
        "WANDB_API_KEY": KEYS["wandb"],
        "HF_TOKEN": KEYS["hf"],
        "AWS_SECRET_ACCESS_KEY": "aws/secret/value/12345",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    assert main([*(a for a in tiny if a != "logger=csv"), "logger=all", "trainer.max_steps=2"]) == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert any(path.suffix == ".ckpt" for path in files)
    for path in files:
        content = path.read_bytes()
        assert not any(value.encode() in content for value in secrets.values()), path
