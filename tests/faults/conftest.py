"""What the runs of `helpers.faulty_runs` need."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from helpers.faulty_runs import checked, run
from helpers.images import make_image
from sr_lightning.config.conf_files import register_resolvers


@pytest.fixture
def _small_runs(tmp_path):
    """Small images; one thread, because the networks are small too."""
    (tmp_path / "pictures").mkdir()
    for i in range(5):
        Image.fromarray(make_image(34 + 3 * i, 40, i)).save(tmp_path / "pictures" / f"{i}.png")
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/dropping.yaml").write_text("_target_: helpers.faulty_runs.Net\nscale: ${scale}\np: 0.3\n")
    register_resolvers()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def _straight_runs(tmp_path_factory):
    return tmp_path_factory.mktemp("straight"), {}


@pytest.fixture
def straight_run(_small_runs, _straight_runs):
    """Gives the run of some settings that nothing stops, made once for all tests: its folder and its objective."""
    root, made = _straight_runs

    def make(*more):
        if more not in made:
            folder = root / str(len(made))
            made[more] = SimpleNamespace(folder=folder, objective=run(checked(*more), folder))
        return made[more]

    return make
