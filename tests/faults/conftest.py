"""What the runs of `helpers.faulty_runs` need, and a packed set of images made by hand."""

import hashlib
import json
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from helpers.faulty_runs import checked, run
from helpers.images import make_image
from helpers.packed_sets import SIDE, shard_of
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


@pytest.fixture
def packed(tmp_path, image):
    """A packed set of two shards with two images each, and its index, made by hand."""
    folder = tmp_path / "packed"
    folder.mkdir()
    shards = []
    for number in range(2):
        content = shard_of([image(SIDE, SIDE, 2 * number + i) for i in range(2)])
        (folder / f"chunk-0-{number}.bin").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        shards.append({"name": f"chunk-0-{number}.bin", "images": 2, "bytes": len(content), "sha256": digest})
    index = {"format": 1, "key": "0" * 32, "shards": shards, "names": [f"{i}.png" for i in range(4)]}
    index |= {"sizes": [[SIDE, SIDE]] * 4, "lost": {}, "left_out": 0}
    rows = [[f"{i:064x}", [f"{i:064x}"]] for i in range(4)]
    (folder / "pictures.hashes1.json").write_text(json.dumps(rows))
    write = lambda: (folder / "pictures.json").write_text(json.dumps(index))  # noqa: E731 (short, beside its use)
    return SimpleNamespace(folder=folder, index=index, write=write)
