"""Secrets: refused where they are typed or looked up, never repeated, and in no file of a run (S5, S12)."""

import importlib

import pytest

from helpers.hostile_files import run_of
from sr_lightning.config.secrets import secret_findings, typed_secrets
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")

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
