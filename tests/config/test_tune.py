"""What `tune` searches, and how mistakes in it are answered."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from sr_lightning.config.compose import compose_jobs
from sr_lightning.config.conf_files import conf_dir, register_resolvers
from sr_lightning.config.search_space import Choice, Range, as_override, parse_space
from sr_lightning.config.tune import check_search, check_tune, fixed_overrides
from sr_lightning.errors import UserError

register_resolvers()


def checked(*overrides):
    (job,) = compose_jobs("tune", [*overrides, "logger=csv"], config_dir=None, config_name=None, is_sweep=False)
    return check_tune(job.config)


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ([1e-4, 1, "log"], Range(1e-4, 1, is_log=True)),
        ([8, 64], Range(8, 64)),
        ([0.1, 0.5], Range(0.1, 0.5)),
        (["l1", "l2"], Choice(("l1", "l2"))),
        ([16, 32, "choice"], Choice((16, 32))),
        ([1, 2, 4], Choice((1, 2, 4))),
        ([True, None], Choice((True, None))),
    ],
)
def test_ranges_and_choices(entry, found):
    findings = []
    assert parse_space({"a": {"b": entry}}, findings) == {"a.b": found}
    assert not findings


def test_whole_numbers_stay_whole_and_others_get_few_digits():
    assert Range(8, 64).is_whole
    assert not Range(1e-4, 1).is_whole
    assert Range(0.0, 1.0).rounded(0.123456789) == 0.1235
    assert Range(0.12344, 1.0).rounded(0.123441) == 0.12344  # not below the lower end


@pytest.mark.parametrize(
    "entry", [3, [1], [2, 1], [0, 1, "log"], [1, 1], ["a", "a"], ["a"], [1, 2, 3, "log"], [[1], [2]], ["log"], "a"]
)
def test_what_is_neither_is_named_with_its_key(entry):
    findings = []
    parse_space({"loss": {"beta": entry}}, findings)
    (finding,) = findings
    assert finding.startswith("search.loss.beta: found ")
    assert "allowed: " in finding


@pytest.mark.parametrize("value", [0.5, 1e-7, 3, True, None, "l1", "a b, c's", 1234567.25, "x=1,y"])
def test_a_value_is_typed_so_that_hydra_reads_it_again(value):
    parsed = OverridesParser.create().parse_override(as_override("a.b", value))
    assert parsed.value() == value
    assert not parsed.is_sweep_override()
    assert as_override("a.b", 1, is_new=True) == "++a.b=1"
    assert as_override("model", "edsr", is_new=True) == "model=edsr"


@pytest.mark.parametrize("name", sorted(path.stem for path in Path(conf_dir(), "search").glob("*.yaml")))
def test_every_preset_can_be_trained(name):
    config = checked(f"search={name}")
    check_search(config, ["logger=csv"], config_dir=None)
    assert len(config.space) == 2


@pytest.mark.parametrize(
    ("searched", "said"),
    [
        ("+search.loss.bta=[0.1,1]", "loss.bta: no such key; did you mean 'beta'?"),
        ("+search.lss.beta=[0.1,1]", "lss"),
        ("+search.loss.beta=[-1.0,1]", "loss.beta: found -1.0"),
        ("+search.model=[edsr_tiny,edsr_tiney]", "edsr_tiney"),
        ("+search.optimizer.epss=[0.1,1]", "epss: no such key"),
        ("+search.data.batch_size=[0.5,1.5]", "data.batch_size"),
    ],
)
def test_a_value_that_cannot_be_trained_with_is_found_before_the_study(searched, said):
    with pytest.raises(UserError) as caught:
        check_search(checked(searched), ["logger=csv"], config_dir=None)
    assert said in str(caught.value)
    assert "[search: " in str(caught.value)


def test_keys_that_only_the_class_knows_and_groups_can_be_searched():
    check_search(
        checked("+search.optimizer.eps=[1e-9,1e-6,log]", "+search.model=[edsr_tiny,fsrcnn]"), [], config_dir=None
    )


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("objectives=[gain,nice]", "objectives"),
        ("objectives=[parameters]", "objectives"),
        ("n_trials=0", "n_trials"),
        ("n_jobs=1.5", "n_jobs"),
        ("timeout=-3", "timeout"),
        ("pruner=medium", "pruner"),
        ("study=../up", "study"),
        ("storage=file.db", "storage"),
        ("ckpt_path=last", "ckpt_path"),
        ("loss.beta=-1", "loss.beta"),
        ("search.loss.beta=[1]", "search.loss.beta"),
    ],
)
def test_mistakes_are_answered_with_their_key(override, key):
    with pytest.raises(UserError, match=rf"(?m)^{key}: "):
        checked("search=loss", override)


def test_nothing_to_search_is_a_mistake():
    with pytest.raises(UserError, match="search: nothing is searched"):
        checked()


def test_the_rest_of_the_command_line_goes_to_every_trial():
    typed = ["search=loss", "+search.optimizer.lr=[1,2]", "~search.loss.beta", "n_jobs=2", "scale=2", "++data.x=1"]
    assert fixed_overrides(typed) == ["scale=2", "++data.x=1"]
    with pytest.raises(UserError, match=r"hydra\.run\.dir: trials have their folders"):
        fixed_overrides(["hydra.run.dir=x"])
