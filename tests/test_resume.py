"""What `ckpt_path` accepts, and what may change when a run continues."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sr_lightning.compose import quote_path
from sr_lightning.errors import UserError
from sr_lightning.resume import Finished, Resume, find_jobs, find_resume

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
    if checkpoint:
        (run / "checkpoints").mkdir()
        (run / "checkpoints" / "last.ckpt").touch()
        (run / "checkpoints" / "best.ckpt").touch()
    if finished:
        (run / "results.json").write_text('{"objective": 1.5}')
    return run


def resume(*overrides):
    return find_resume([quote_path(o) for o in overrides], is_sweep=False)


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


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"ckpt_path=last: no unfinished run with a checkpoint in runs/train"):
        resume("ckpt_path=last")
    with pytest.raises(UserError, match=r"ckpt_path: nowhere is not there"):
        resume("ckpt_path=nowhere")
    with pytest.raises(UserError, match=r"last\.ckpt is not there"):
        resume(f"ckpt_path={make_run('a', checkpoint=False)}")
    with pytest.raises(UserError, match="an address"):
        resume("ckpt_path=https://example.org/a.ckpt")
    (tmp_path / "alone.ckpt").touch()
    with pytest.raises(UserError, match=r"does not lie in a run's folder.*model\.weights="):
        resume(f"ckpt_path={tmp_path}/alone.ckpt")
    with pytest.raises(UserError, match="found a sweep"):
        find_resume(["ckpt_path=last"], is_sweep=True)


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
        ("loss.beta=0.1", r"loss\.beta: the run was started with 0.0, found 0.1; allowed to change: trainer"),
        ("data.batch_size=8", r"data\.batch_size"),
        ("adversarial=srgan", "adversarial: the run was started with None, found 'srgan'"),
        ("+adversarial.weight=0.1", r"adversarial\.weight: the run was started with None"),
        ("trainer.max_step=3", r"trainer\.max_step"),
        ("trainer=gpu", "trainer: a whole section cannot be swapped"),
        ("~trainer.devices", "nothing can be deleted"),
    ],
)
def test_what_decides_the_numbers_may_not_change(override, said):
    run = make_run("a")
    with pytest.raises(UserError, match=said):
        resume(f"ckpt_path={run}", override)


def test_jobs_of_an_earlier_sweep():
    sweep = Path("runs/sweep/s")
    make_run("0", finished=True, runs=sweep)
    make_run("1", runs=sweep)
    make_run("2", checkpoint=False, runs=sweep)
    config = OmegaConf.create(CONFIG)
    found = find_jobs(sweep, [config] * 4)
    assert set(found) == {"0", "1"}
    assert found["0"] == Finished(1.5)
    assert isinstance(found["1"], Resume)
    assert found["1"].checkpoint == sweep / "1/checkpoints/last.ckpt"
    with pytest.raises(UserError, match=r"s/0 was run with another config"):
        find_jobs(sweep, [OmegaConf.merge(config, {"seed": 9})] * 4)
