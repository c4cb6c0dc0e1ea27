"""What the project uses of Hydra beyond its public interface: these fail when a release of Hydra changes it."""

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from sr_lightning.cli.arguments import _QUESTIONS
from sr_lightning.config.compose import _combinations, opened_configs
from sr_lightning.config.conf_files import conf_dir


def test_the_flags_of_the_command_line():
    """A new flag has to be sorted: does Hydra answer by itself, or does it run a job?"""
    known = {*_QUESTIONS, "overrides", "resolve", "package", "run", "multirun"}
    known |= {"config_path", "config_name", "config_dir", "experimental_rerun"}
    parser = get_args_parser()
    assert {action.dest for action in parser._actions} == known
    typed = ["a=1", "-m", "--config-dir", "mine", "--config-name", "x", "b=2"]
    parsed = parser.parse_known_intermixed_args(typed)[0]
    assert (parsed.overrides, parsed.multirun, parsed.config_dir, parsed.config_name) == (
        ["a=1", "b=2"],
        True,
        "mine",
        "x",
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ["scale=2,3", "loss.beta=0,0.01", "+data.test.Mine=a"],
        ["scale=4", "~experiment", "loss.beta=range(1,4)"],
        ["seed=choice(1,2,3)", "model=edsr,rcan", "seed=5,6"],
        ["model=glob(edsr_tiny*)"],
    ],
)
def test_jobs_are_numbered_as_the_basic_sweeper_numbers_them(overrides):
    from hydra.core.global_hydra import GlobalHydra

    with initialize_config_dir(conf_dir(), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(overrides)
        (batch,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        assert _combinations(parsed) == [list(job) for job in batch]
        assert len(batch) > 1


def test_a_primary_config_in_the_users_own_folder(tmp_path):
    (tmp_path / "mine.yaml").write_text("defaults:\n  - train\n  - _self_\nseed: 77\n")
    with opened_configs("train", str(tmp_path)):
        assert compose("mine").seed == 77
        assert compose("train").seed == 1


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("los.beta=1", "Could not override 'los.beta'"),
        ("model=edsr_tiney", "Could not find 'model/edsr_tiney'\n\nAvailable options in 'model':\n"),
    ],
)
def test_the_messages_that_are_read(override, said):
    with initialize_config_dir(conf_dir(), version_base="1.3"), pytest.raises(HydraException) as caught:
        compose("train", [override])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "override",
    ["loss.bteh=1", "~loss.nothing", "+loss.beta=1", "loss.beta.more=1", "hydra.job.nam=x"],
)
def test_a_value_that_is_applied_alone_is_wrong_as_when_all_is_composed(override):
    with opened_configs("train", None):
        with pytest.raises(HydraException) as caught:
            compose("train", [override])
        base = compose("train", [], return_hydra_config=True)
        with pytest.raises(HydraException) as applied:
            ConfigLoaderImpl._apply_overrides_to_config(OverridesParser.create().parse_overrides([override]), base)
    assert str(applied.value) == str(caught.value)
