"""A section typed as a mapping, and a group set to null: what Hydra composes then."""

import pytest
from omegaconf import OmegaConf

from sr_lightning.config.compose import compose_jobs, translate_overrides
from sr_lightning.config.conf_files import register_resolvers
from sr_lightning.config.overrides import as_typed
from sr_lightning.config.train import check_train
from sr_lightning.errors import UserError
from sr_lightning.runs.allowed_changes import apply_changes

register_resolvers()
STEP = "scheduler={_target_: torch.optim.lr_scheduler.StepLR, _partial_: true, step_size: 5}"


def jobs(*overrides, is_sweep=False):
    translated = translate_overrides("train", list(overrides), config_dir=None, config_name=None)
    composed = compose_jobs("train", translated, config_dir=None, config_name=None, is_sweep=is_sweep)
    return [check_train(job.config) for job in composed]


def composed(*overrides):
    return jobs(*overrides)[0]


@pytest.mark.parametrize("others", [[], ["experiment=quick/edsr_tiny_y_t291_x4"], ["scheduler=multistep"]])
def test_a_section_is_replaced_wherever_it_came_from(others, tmp_path, monkeypatch):
    for name in ("train/T91", "train/BSD200", "train/BSD200-extra", "test/Set5", "test/Set14"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("SR_DATA", str(tmp_path))
    expected = {"_target_": "torch.optim.lr_scheduler.StepLR", "_partial_": True, "step_size": 5}
    assert composed(STEP, *others).scheduler == composed(*others, STEP).scheduler == expected


def test_keys_with_null_and_with_what_must_be_given_are_replaced_too():
    folder = "data={_target_: sr_lightning.data.SRDataModule, train_dir: ., scale: 4}"
    assert composed("data=folder", folder).data == {
        "_target_": "sr_lightning.data.SRDataModule",
        "train_dir": ".",
        "scale": 4,
    }
    assert "gradient_clip_val" not in composed("trainer={_target_: lightning.pytorch.Trainer, max_steps: 3}").trainer


def test_keys_of_the_new_section_may_be_set_after_it():
    config = composed("model={_target_: sr_lightning.models.FSRCNN, scale: 4, d: 5}", "model.d=6", "optimizer.lr=1e-4")
    assert config.model == {"_target_": "sr_lightning.models.FSRCNN", "scale": 4, "d": 6}
    assert config.optimizer["lr"] == 1e-4


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("logger={mine: {_target_: lightning.pytorch.loggers.CSVLogger, save_dir: x}}", "logger", ["mine"]),
        ("callbacks={}", "callbacks", []),
        ("callbacks=null", "callbacks", []),
        ("logger=null", "logger", []),
        # it names no class and only sets what is there
        ("optimizer={lr: 1}", "optimizer", ["_target_", "_partial_", "lr", "betas", "eps", "weight_decay"]),
        ("++optimizer={lr: 1}", "optimizer", ["_target_", "_partial_", "lr", "betas", "eps", "weight_decay"]),
    ],
)
def test_which_keys_a_section_has(override, key, expected):
    assert list(getattr(composed(override), key)) == expected


def test_nothing_of_a_group():
    assert composed("adversarial=null").adversarial is None
    assert composed("adversarial=srgan", "adversarial=null").adversarial is None
    assert composed("degradation=classical", "degradation=null").data["degradation"] is None


def test_in_a_sweep():
    sgd, adam = "{_target_: torch.optim.SGD, lr: 0.1}", "{_target_: torch.optim.Adam, lr: 0.2}"
    found = jobs(f"optimizer={sgd},{adam}", "adversarial=null,srgan", STEP, is_sweep=True)
    assert [job.optimizer["lr"] for job in found] == [0.1, 0.1, 0.2, 0.2]
    assert [job.adversarial is None for job in found] == [True, False, True, False]
    assert all(job.scheduler["step_size"] == 5 for job in found)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["scheduler={_target_: torch.optim.lr_scheduler.StepLR}"], "scheduler.step_size: must be given"),
        (["scheduler={_target_: torch.optim.lr_scheduler.ReduceLROnPlateau}"], "ReduceLROnPlateau follows what"),
        (["model={_target_: sr_lightning.models.FSRCNN, scale: 4, dd: 6}"], "model.dd: no such key"),
        (["trainer={_target_: lightning.pytorch.Trainer}"], "trainer.max_steps: must be given"),
        (["~trainer.max_steps"], "trainer.max_steps: must be given"),
    ],
)
def test_a_section_that_is_wrong(overrides, said):
    with pytest.raises(UserError) as caught:
        composed(*overrides)
    assert said in str(caught.value)


def test_what_else_is_wrong_is_told_and_the_new_section_is_not():
    with pytest.raises(UserError) as caught:
        composed("model={_target_: sr_lightning.models.FSRCNN, scale: 4, d: 5}", "model.d=6", "los.beta=1")
    assert "los.beta: there is no section 'los'; did you mean 'loss.beta'?" in str(caught.value)
    assert "model" not in str(caught.value)


def test_overrides_are_shown_as_they_were_typed():
    typed = [STEP, "seed=3", "~experiment", "++trainer.foo=1", "data={_target_: a.B}", "data.patch_size=3"]
    translated = translate_overrides("train", typed, config_dir=None, config_name=None)
    assert len(translated) > 30
    assert as_typed(translated) == typed


def test_a_run_that_continues_takes_another_logger_and_no_other_schedule():
    saved = OmegaConf.create(
        {"logger": {"wandb": {"_target_": "w", "mode": "offline"}}, "scheduler": {"_target_": "s", "rise": 0.3}}
    )
    mine = "logger={mine: {_target_: m}}"
    assert apply_changes(saved, [mine], ()) != []
    assert saved.logger == {"mine": {"_target_": "m"}}
    apply_changes(saved, ["logger.mine={_target_: n}"], ())
    assert saved.logger == {"mine": {"_target_": "n"}}
    with pytest.raises(UserError, match=r"scheduler\._target_: the run was started with"):
        apply_changes(saved, [STEP], ())
