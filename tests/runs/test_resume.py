"""What `ckpt_path` accepts, and what may change when a run continues."""

import zipfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sr_lightning.config.overrides import quote_path
from sr_lightning.errors import UserError
from sr_lightning.runs.resume import Finished, Resume, find_folder, find_jobs, find_resume

CONFIG = {
    "seed": 1,
    "loss": {"beta": 0.0},
    "trainer": {"max_steps": 10, "devices": 1},
    "data": {"batch_size": 4, "num_workers": 0, "test": {}},
    "paths": {"runs": "runs"},
}


def make_run(name, *, finished=False, checkpoint=True, runs="runs/train"):
    run = Path(runs, name)
    (run / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(CONFIG), run / ".hydra" / "config.yaml")
    (run / ".hydra" / "overrides.yaml").write_text("[]\n")
    if checkpoint:
        (run / "checkpoints").mkdir()
        for name in ("last.ckpt", "best.ckpt"):
            with zipfile.ZipFile(run / "checkpoints" / name, "w") as archive:
                archive.writestr("data", "of an older version, without a trailer")
    if finished:
        (run / "results.json").write_text('{"objective": 1.5}')
    return run


def resume(*overrides):
    overrides = [quote_path(o) for o in overrides]
    folder = find_folder(overrides, is_sweep=False)
    return folder and find_resume(folder, overrides)


def test_nothing_asked_for():
    assert resume("seed=2") is None
    assert resume("ckpt_path=null") is None


def test_a_folder_a_file_or_the_last():
    old, new = make_run("2026-01-01"), make_run("2026-01-03, a=b")
    make_run("2026-01-05", finished=True)
    make_run("2026-01-06", checkpoint=False)
    assert resume(f"ckpt_path={old}").checkpoint == old / "checkpoints/last.ckpt"
    assert resume(f"ckpt_path={new}/checkpoints/best.ckpt").checkpoint == new / "checkpoints/best.ckpt"
    assert resume(f"ckpt_path={new}").folder == new
    assert resume("ckpt_path=last").folder == new
    other = make_run("x", runs="elsewhere/train")
    assert resume("ckpt_path=last", "paths.runs=elsewhere").folder == other


@pytest.mark.fault("T22", "environment variables count, other keys are refused")
def test_a_path_put_together_from_other_keys(monkeypatch):
    run = make_run("a")
    monkeypatch.setenv("MINE", "runs")
    assert resume("ckpt_path=${oc.env:MINE}/train/a").folder == run
    assert resume("ckpt_path=last", "paths.runs=${oc.env:MINE}").folder == run
    with pytest.raises(UserError, match=r"ckpt_path: runs/.* refers to other keys"):
        resume("ckpt_path=runs/train/${seed}")


@pytest.mark.fault("T10", "refused: none is whole")
def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"ckpt_path=last: no unfinished run with a checkpoint in runs/train"):
        resume("ckpt_path=last")
    with pytest.raises(UserError, match=r"ckpt_path: nowhere is not there"):
        resume("ckpt_path=nowhere")
    assert resume(f"ckpt_path={make_run('a', checkpoint=False)}").checkpoint is None  # it begins again
    with pytest.raises(UserError, match=r"checkpoints/last\.ckpt is not there"):
        resume("ckpt_path=runs/train/a/checkpoints/last.ckpt")
    broken = make_run("b")
    (broken / "checkpoints/last.ckpt").write_bytes(b"half of it")
    with pytest.raises(UserError, match=r"no intact checkpoint in .*b/checkpoints \(last\.ckpt is damaged: "):
        resume(f"ckpt_path={broken}")
    with pytest.raises(UserError, match="an address"):
        resume("ckpt_path=https://example.org/a.ckpt")
    (tmp_path / "alone.ckpt").touch()
    with pytest.raises(UserError, match=r"does not lie in a run's folder.*model\.weights="):
        resume(f"ckpt_path={tmp_path}/alone.ckpt")
    with pytest.raises(UserError, match="found a sweep"):
        find_folder(["ckpt_path=last"], is_sweep=True)


def test_only_what_is_typed_now_changes():
    run = make_run("a")
    found = resume(f"ckpt_path={run}", "trainer.max_steps=20", "+data.test.Mine=/x", "seed=1")
    assert found.changes == ["trainer.max_steps: 10 -> 20", "data.test.Mine: None -> /x"]
    assert found.config.trainer.max_steps == 20
    assert found.config.data.test.Mine == "/x"
    assert found.config.loss.beta == 0.0


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=2", "seed: the run was started with 1, found 2"),
        (
            "loss.beta=0.1",
            r"loss\.beta: .* started with 0.0, found 0.1\n.*allow_change=\[loss\.beta\].*model\.weights=",
        ),
        ("data.batch_size=8", r"data\.batch_size"),
        ("adversarial=srgan", "adversarial: the run was started with None, found 'srgan'"),
        ("+adversarial.weight=0.1", r"adversarial\.weight: the run was started with None"),
        ("trainer.max_step=3", r"trainer\.max_step"),
        ("trainer=gpu", "trainer: a whole section cannot be swapped"),
        ("~trainer.devices", "nothing can be deleted"),
    ],
)
@pytest.mark.fault("T13", "refused")
def test_what_decides_the_numbers_may_not_change(override, said):
    run = make_run("a")
    with pytest.raises(UserError, match=said):
        resume(f"ckpt_path={run}", override)


@pytest.mark.fault("T13", "refused, every key listed; accepted by name")
def test_several_at_once_are_listed_with_what_to_type_and_accepted_by_name():
    run = make_run("a")
    typed = [f"ckpt_path={run}", "seed=2", "loss.beta=0.1", "data.batch_size=8", "model.x=1"]
    with pytest.raises(UserError) as caught:
        resume(*typed)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()[:4]] == [
        "seed",
        "loss.beta",
        "data.batch_size",
        "model.x",
    ]
    assert "allow_change=[seed,loss.beta,data.batch_size]; its state fits no other model.x" in str(caught.value)
    with pytest.raises(UserError, match=r"model\.x: .*\n.*fits no other model\.x"):
        resume(*typed, "allow_change=[seed,loss,data,model]")
    found = resume(*typed[:-1], "allow_change=[seed,loss,data.batch_size]")
    assert (found.config.seed, found.config.loss.beta, found.config.data.batch_size) == (2, 0.1, 8)
    assert found.allowed == ("seed", "loss", "data.batch_size")


@pytest.mark.fault("T14", "`last` goes by the folders' names")
def test_the_newest_by_number_not_by_letters():
    for suffix in ("", "_2", "_10", "_9"):
        make_run(f"2026-01-01_00-00-00{suffix}")
    assert resume("ckpt_path=last").folder.name.endswith("_10")


def test_jobs_of_an_earlier_sweep():
    sweep = Path("runs/sweep/s")
    make_run("0", finished=True, runs=sweep)
    make_run("1", runs=sweep)
    make_run("2", checkpoint=False, runs=sweep)
    config = OmegaConf.create(CONFIG)
    found = find_jobs(sweep, jobs(config))
    assert set(found) == {"0", "1", "2"}
    assert found["0"] == Finished(1.5)
    assert isinstance(found["1"], Resume)
    assert found["1"].checkpoint == sweep / "1/checkpoints/last.ckpt"
    assert found["2"].checkpoint is None  # it begins again
    with pytest.raises(UserError, match=r"s/0 was run with another config"):
        find_jobs(sweep, jobs(OmegaConf.merge(config, {"seed": 9})))


def jobs(config):
    return [(str(number), config) for number in range(4)]


TORN = {
    "empty config": (".hydra/config.yaml", ""),
    "half a config": (".hydra/config.yaml", "seed: 1\nloss: {beta: 0"),
    "a config cut at a line": (".hydra/config.yaml", "seed: 1\n"),
    "half of the results": ("results.json", '{"objective": 1.'),
    "other results": ("results.json", "[]"),
}


@pytest.mark.fault("T20", "the job begins again or goes on, told; the others as ever")
@pytest.mark.parametrize("kind", TORN)
def test_a_torn_file_concerns_its_own_job_only(capsys, kind):
    """The whole sweep was refused for a wrong reason, or ended in a traceback."""
    sweep, (name, text) = Path("runs/sweep/s"), TORN[kind]
    make_run("0", finished=True, runs=sweep)
    begun, fresh = make_run("1", runs=sweep), make_run("2", checkpoint=False, runs=sweep)
    for job in (begun, fresh):
        (job / name).write_text(text)
        if kind == "a config cut at a line":
            (job / ".hydra/overrides.yaml").unlink()  # which Hydra writes last
    found = find_jobs(sweep, jobs(OmegaConf.create(CONFIG)))
    assert found["0"] == Finished(1.5)
    assert [found[number].checkpoint for number in ("1", "2")] == [begun / "checkpoints/last.ckpt", None]
    assert capsys.readouterr().out.splitlines() == [
        f"{begun / name} is incomplete, as an interrupted run leaves it; the job continues from last.ckpt",
        f"{fresh / name} is incomplete, as an interrupted run leaves it; the job begins again",
    ]
