"""What `ckpt_path` accepts, and what may change when a run continues."""

import zipfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sr_lightning.config.overrides import quote_path
from sr_lightning.errors import UserError
from sr_lightning.runs.allowed_changes import differing_keys, following_keys
from sr_lightning.runs.resume import Resume, find_folder, find_resume
from sr_lightning.runs.sweep_jobs import Finished, find_jobs

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


FULL = CONFIG | {
    "scale": 4,
    "ckpt_path": None,
    "data": {"_target_": "sr_lightning.data.SRDataModule", "scale": "${scale}", "seed": "${seed}", "batch_size": 4},
    "model": {"_target_": "sr_lightning.models.EDSR", "scale": "${scale}"},
    "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 1e-3},
    "scheduler": {"_target_": "sr_lightning.optim.one_cycle", "_partial_": True, "rise": 0.3, "initial": 0.04},
    "trainer": {"_target_": "lightning.pytorch.Trainer", "max_steps": 10},
    "callbacks": {
        name: {"_target_": f"sr_lightning.callbacks.{kind}"}
        for name, kind in {"checkpoints": "Checkpoints", "pictures": "Pictures", "progress": "Progress"}.items()
    },
    "logger": {},
}


def full_run():
    run = make_run("a")
    OmegaConf.save(OmegaConf.create(FULL), run / ".hydra" / "config.yaml")
    return run


STEP = "scheduler={_target_: torch.optim.lr_scheduler.StepLR, step_size: 5}"


@pytest.mark.parametrize("allowed", [[], ["allow_change=[scheduler]"]])
def test_the_first_answer_about_another_class_is_the_last(allowed):
    """`allow_change=[scheduler]` was offered, and then `scheduler._target_` refused."""
    with pytest.raises(UserError) as caught:
        resume(f"ckpt_path={full_run()}", STEP, *allowed)
    assert str(caught.value).startswith("scheduler._target_: the run was started with 'sr_lightning.optim.one_cycle', ")
    assert "its state fits no other scheduler._target_" in str(caught.value)
    assert "allow_change" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_a_section_of_the_same_class_is_judged_key_by_key():
    run, typed = full_run(), "scheduler={_target_: sr_lightning.optim.one_cycle, rise: 0.2}"
    with pytest.raises(UserError, match=r"allow_change=\[scheduler\.rise,scheduler\.initial\]\. A new"):
        resume(f"ckpt_path={run}", typed)
    found = resume(f"ckpt_path={run}", typed, "allow_change=[scheduler.rise,scheduler.initial]")
    assert found.changes == ["scheduler.rise: 0.3 -> 0.2", "scheduler.initial: 0.04 -> None"]
    assert found.config.scheduler == {"_target_": "sr_lightning.optim.one_cycle", "rise": 0.2}


@pytest.mark.parametrize("typed", ["+trainer.foo=3", "trainer.foo=3", "callbacks.progress.foo=3"])
def test_a_key_that_does_not_exist_is_no_matter_of_permission(typed):
    with pytest.raises(UserError, match=r"^\w+(\.progress)?\.foo: no such key; ") as caught:
        resume(f"ckpt_path={full_run()}", typed)
    assert "allow_change" not in str(caught.value)


def test_beside_an_unknown_key_the_others_are_named():
    with pytest.raises(UserError) as caught:
        resume(f"ckpt_path={full_run()}", "trainer.max_step=3", "loss.beta=0.1")
    assert [line.split(":")[0] for line in str(caught.value).splitlines()[:2]] == ["trainer.max_step", "loss.beta"]
    assert "to change it all the same: allow_change=[loss.beta]." in str(caught.value)


def test_keys_follow_their_source():
    """`allow_change=[seed]` demanded `data.seed`."""
    config = OmegaConf.create(FULL)
    assert following_keys(config, ["seed"]) == ("data.seed",)
    assert following_keys(config, ["optimizer"]) == ()
    chain = OmegaConf.create({"a": 1, "b": "${a}/x", "c": {"d": "${b}"}, "e": "${oc.env:a}"})
    assert following_keys(chain, ["a"]) == ("b", "c.d")


@pytest.mark.parametrize("typed", ["callbacks={}", "callbacks.checkpoints=null"])
def test_what_chooses_the_best_cannot_be_switched_off(typed):
    """There was a line for each callback."""
    with pytest.raises(UserError) as caught:
        resume(f"ckpt_path={full_run()}", typed)
    (line, _) = str(caught.value).splitlines()
    assert line.startswith("callbacks.checkpoints._target_: the run was started with ")


def test_other_callbacks_may_be_switched_off_and_added():
    typed = ["callbacks.pictures=null", "+callbacks.mine={_target_: my.Callback}"]
    found = resume(f"ckpt_path={full_run()}", *typed)
    assert found.config.callbacks.pictures is None
    assert found.changes[0] == "callbacks.pictures._target_: sr_lightning.callbacks.Pictures -> None"
    before = {"callbacks": {"pictures": {"_target_": "a"}, "ema": {"_target_": "b"}}}
    now = {"callbacks": {"mine": {"_target_": "c"}, "ema": {"_target_": "b"}}}
    assert set(differing_keys(before, now, [])) == {"callbacks.pictures._target_", "callbacks.mine._target_"}


def test_a_run_that_a_time_limit_stopped_goes_on_without_it():
    """It had to be allowed, although no figure depends on it."""
    before, now = (
        {"trainer": {"max_time": limit, "profiler": tool}} for limit, tool in (("00:01:00:00", None), (None, "simple"))
    )
    assert differing_keys(before, now, []) == ("trainer.max_time", "trainer.profiler")


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
