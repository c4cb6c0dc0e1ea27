"""Cleaning up removes what is ours and nothing else, in folders that others use (S11)."""

import os

import pytest

from helpers.packed_sets import below, start
from sr_lightning.checkpoints.integrity import tidy
from sr_lightning.cli.rank import remove_job
from sr_lightning.data.cache.store import ImageStore
from sr_lightning.data.shards.reader import Shards
from sr_lightning.runs.folder import remove_unused

pytestmark = pytest.mark.usefixtures("_hydras_logging")


@pytest.mark.fault("S11", "all of it is still there")
def test_S11_a_cache_of_shards_in_a_folder_in_use(packed, tmp_path):
    """`*/*.bin*` of other programs was deleted to make room."""
    packed.write()
    kept = tmp_path / "kept"
    others = ["game/level.bin", "model/pytorch_model.bin", "shards-" + "1" * 32 + "/" + "2" * 64 + ".bin", "a.bin"]
    others += ["shards-" + "0" * 31 + "/x.bin"]
    for name in others:
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        (kept / name).write_bytes(b"x" * 70_000)
        os.utime(kept / name, (0, 0))  # the oldest go first
    files = Shards(folder=f"local:{packed.folder}", cache_dir=str(kept), max_cache_gb=61e-6, spread=1).files
    shards = files.index().shards
    (files.set_dir / "notes.txt").touch()
    for shard in [*shards, *shards]:
        assert files.shard(shard).stat().st_size == shard.bytes
    assert {*others, f"{files.set_dir.name}/notes.txt"} <= below(kept)
    assert len(list(files.set_dir.glob("*.bin"))) == 1  # it did make room


@pytest.mark.fault("S11", "refused, nothing is touched")
def test_S11_a_folder_that_has_the_name_of_a_sets_but_is_not_ours(packed, tmp_path, capsys):
    packed.write()
    mine = tmp_path / "cache/shards/shards-00000000000000000000000000000000/mine.bin"
    mine.parent.mkdir(parents=True)
    mine.touch()
    status, said = start(f"local:{packed.folder}", capsys)
    assert status == 2
    assert "is there and holds other files; allowed: another data.shards.cache_dir" in said.replace("\n", " ")
    assert mine.exists()


@pytest.mark.fault("S11", "ours goes, the rest stays")
def test_S11_a_store_of_images_in_a_folder_in_use(folder, tmp_path):
    cache = tmp_path / "kept"
    key = ImageStore(sorted(folder.iterdir()), cache).key
    for path in cache.iterdir():
        path.unlink()
    ours = [f"{key}.x4.matlab_bicubic-1.rgb8", f"{key}.x4.matlab_bicubic-1.json", f"part-{key}-abcd1234/{key}.rgb8"]
    others = [f"{key}.xlsx", f"{key}.x", f"part-{key}-mine/thesis.txt", f"part-{key}-abcd5678/thesis.txt"]
    for name in (*ours, *others):
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).touch()
    ImageStore(sorted(folder.iterdir()), cache)
    found = below(cache)
    assert found >= set(others)
    assert not found & set(ours)
    assert f"part-{key}-abcd1234" not in found


@pytest.mark.fault("S11", "ours goes, the rest stays")
def test_S11_a_runs_folder_that_was_in_use(tmp_path):
    run = tmp_path / "run"
    ours = ["checkpoints/last.ckpt.part", "metrics.csv.part", "ranks/job.json", "ranks/rank0.json", "ranks/rank1.log"]
    others = ["checkpoints/mine.ckpt.part", "thesis.part", "ranks/thesis.txt", "ranks/rank.json"]
    for name in (*ours, *others):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).touch()
    tidy(run)
    remove_job(run)
    found = below(run)
    assert found >= set(others)
    assert not found & set(ours)


@pytest.mark.parametrize("other", [".hydra/mine.txt", "mine/train.log", "train.log/mine.txt"])
@pytest.mark.fault("S11", "nothing is removed")
def test_S11_a_run_that_never_began_in_a_folder_in_use(tmp_path, other):
    run = tmp_path / "run"
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra/config.yaml").touch()
    (run / other).parent.mkdir(parents=True, exist_ok=True)
    (run / other).touch()
    before = below(run)
    remove_unused(run, "train")
    assert below(run) == before


@pytest.mark.fault("S11", "it is removed")
def test_S11_a_run_that_never_began(tmp_path):
    run = tmp_path / "run"
    (run / ".hydra").mkdir(parents=True)
    for name in (".hydra/config.yaml", "train.log", "train_rank1.log", ".lock"):
        (run / name).touch()
    remove_unused(run, "train")
    assert not run.exists()
