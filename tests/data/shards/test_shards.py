"""Packed images: what litdata reads, what a run sees, and what is refused."""

import http.server
import itertools
import json
import os
import sys
import threading
from pathlib import Path
from shutil import copytree
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.stub_trainer import stub_trainer
from sr_lightning.data import SRDataModule
from sr_lightning.data.images import Grouping
from sr_lightning.data.sampling.crops import _order
from sr_lightning.data.sampling.sampler import BatchRequest
from sr_lightning.data.shards import storage as shard_files
from sr_lightning.data.shards.reader import Shards
from sr_lightning.errors import TrainingFailedError, UserError
from sr_lightning.pack import main

pytest.importorskip("litdata", reason="needs litdata (pip install 'sr_lightning[streaming]')")
pytestmark = [
    pytest.mark.usefixtures("_hydras_logging"),
    # litdata, at its import
    pytest.mark.filterwarnings("ignore::DeprecationWarning:litdata"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the first test that needs it has made, for the others to copy."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def many(made, tmp_path, image):
    """Twenty-four images in two sub-folders with the same names, of 27 to 41 KB when decoded."""
    if not (made / "many").exists():
        for i in range(24):
            path = made / "many" / "ab"[i % 2] / f"{i // 2:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image(96 + i, 97 + i % 5, i)).save(path)
    return copytree(made / "many", tmp_path / "many")


@pytest.fixture
def packed(made, many, tmp_path, monkeypatch):
    """Their shards, of four images or less."""
    from sr_lightning.data.shards import writer as packing

    if not (made / "shards").exists():
        real = packing._writer
        with monkeypatch.context() as patch:
            patch.setattr(packing, "_writer", lambda folder, size: real(folder, size // 8))
            assert main([f"input={many}", f"output={made}/shards", "shard_mb=1"]) == 0
    return copytree(made / "shards", tmp_path / "shards, 1=x")


def module(packed, tmp_path, *, world_size=1, rank=0, spread=2, kept_gb=1e-3, **settings):
    shards = Shards(folder=str(packed), cache_dir=str(tmp_path / "kept"), max_cache_gb=kept_gb, spread=spread)
    defaults = {"scale": 4, "seed": 3, "cache_dir": str(tmp_path / "cache"), "batch_size": 4, "patch_size": 12}
    data = SRDataModule(shards=shards, **(defaults | settings))
    data.trainer = stub_trainer(rank=rank, world_size=world_size)
    data.setup("fit")
    return data


def batches(data, n):
    return [data.on_after_batch_transfer(w, 0) for w in itertools.islice(data.train_dataloader(), n)]


def same(first, second):
    return all(torch.equal(a.lr, b.lr) and torch.equal(a.hr, b.hr) for a, b in zip(first, second, strict=True))


def test_litdata_itself_reads_the_images(many, packed):
    from litdata import StreamingDataset

    dataset = StreamingDataset(str(packed))
    paths = sorted(many.rglob("*.png"))
    assert len(dataset) == len(paths) == 24
    index = json.loads((packed / "pictures.json").read_text())
    assert index["names"] == [path.relative_to(many).as_posix() for path in paths]
    assert (packed / "pictures.hashes1.json").is_file()  # names are a format: sets that were packed once stay readable
    for i in (0, 5, 13, 23):
        np.testing.assert_array_equal(dataset[i], np.asarray(Image.open(paths[i])))


def test_what_a_run_reads_are_the_files(many, packed, tmp_path):
    images = module(packed, tmp_path).train_images.hr
    assert len({shard.name for shard in images.shards}) > 5
    for i, path in enumerate(sorted(many.rglob("*.png"))):
        np.testing.assert_array_equal(images[i], np.asarray(Image.open(path)))
        assert images.sizes[i] == images[i].shape[:2]
    with pytest.raises(ValueError, match="read-only"):
        images[0][0, 0] = 1


def test_a_pass_shows_each_image_once_and_needs_a_shard_during_one_stretch():
    grouping = Grouping(np.repeat(np.arange(40), 25), 4)
    first, again, second = (_order(7, 1000, number, grouping) for number in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    for order in (first, second):
        assert sorted(order.tolist()) == list(range(1000))
        shards = grouping.of[order]
        begins = np.array([np.argmax(shards == i) for i in range(40)])
        ends = np.array([999 - np.argmax(shards[::-1] == i) for i in range(40)])
        is_open = [int(((begins <= k) & (ends >= k)).sum()) for k in range(1000)]
        assert max(is_open) <= 5  # the spread, and one that begins while another ends
        assert np.mean(is_open) > 3


def test_workers_ranks_and_a_resumed_run_see_the_same(packed, tmp_path):
    straight = batches(module(packed, tmp_path), 9)  # 36 samples: into the second pass
    assert same(straight, batches(module(packed, tmp_path, num_workers=2), 9))
    ranks = [batches(module(packed, tmp_path, world_size=2, rank=rank), 9) for rank in (0, 1)]
    for one, first, second in zip(straight, *ranks, strict=True):
        assert torch.equal(one.hr, torch.cat([first.hr, second.hr]))
    begun = module(packed, tmp_path)
    batches(begun, 5)
    resumed = module(packed, tmp_path)
    resumed.load_state_dict(begun.state_dict())
    assert same(straight[5:], batches(resumed, 4))
    other = module(packed, tmp_path, spread=3)  # another order
    other.load_state_dict(begun.state_dict())
    with pytest.raises(UserError, match="have changed since the checkpoint"):
        other.train_dataloader()


def size_if_there(path):
    """Bytes; what is fetched ahead may push a file out meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_a_remote_set_is_fetched_shard_by_shard_into_a_bounded_cache(packed, tmp_path, monkeypatch):
    """`local:` goes the way of an object store: through litdata's downloader."""
    from sr_lightning.data.shards.storage import ShardFiles

    fetched = []
    real = ShardFiles._download
    monkeypatch.setattr(ShardFiles, "_download", lambda *a: (fetched.append(a[1]), real(*a)))
    here = batches(module(packed, tmp_path), 12)
    away = module(f"local:{packed}", tmp_path)
    images = away.train_images.hr
    largest = max(shard.bytes for shard in images.shards)
    images.files.cache.max_bytes = 4 * largest
    fetched.clear()
    found = []
    for windows in itertools.islice(away.train_dataloader(), 12):  # two passes
        found.append(away.on_after_batch_transfer(windows, 0))
        assert sum(map(size_if_there, (tmp_path / "kept").glob("*/*.bin"))) <= 4 * largest
    assert same(here, found)
    shards = [name for name in fetched if name.endswith(".bin")]
    assert len(images.shards) <= len(shards) <= 2 * len(images.shards)
    kept = {path.suffix or path.name for path in (tmp_path / "kept").glob("*/*")}
    assert kept == {".bin", ".json", ".sr_lightning-shards"}  # no lock, nothing half-done
    workers = batches(module(f"local:{packed}", tmp_path, num_workers=2), 12)
    assert same(here, workers)


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """An object store on this machine, as far as reading goes; the requests that it has answered."""
    asked = []

    class Store(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = unquote(self.path).removeprefix("/bucket/")
            asked.append((self.command, name))
            file = tmp_path / name
            content = file.read_bytes() if file.is_file() else b""
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"1"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        # It looks every 0.01 s whether it is to stop, by default every 0.5.
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
            monkeypatch.setenv(name, "us-east-1")
        shard_files._downloader.cache_clear()
        yield asked
        server.shutdown()
    shard_files._downloader.cache_clear()


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_workers_fetch_each_shard_from_a_bucket_once(packed, tmp_path, bucket, workers):
    here = batches(module(packed, tmp_path), 6)  # one pass
    away = module(f"s3://bucket/{packed.name}", tmp_path, spread=2, num_workers=workers)
    assert same(here, batches(away, 6))
    fetched = [name for command, name in bucket if command == "GET"]
    assert len(set(fetched)) == len(fetched) == 1 + len(away.train_images.hr.shards)


def test_a_bucket_that_is_not_there_or_not_reached_is_told_after_seconds(tmp_path, bucket, monkeypatch):
    monkeypatch.setattr(shard_files.time, "sleep", lambda _: None)
    with pytest.raises(UserError, match=r"cannot fetch s3://bucket/other/pictures\.json: ClientError.*404"):
        module("s3://bucket/other", tmp_path)
    shard_files._downloader.cache_clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot fetch s3://bucket/other/pictures\.json: EndpointConnectionError"):
        module("s3://bucket/other", tmp_path)


def test_a_shard_that_is_not_what_was_packed_is_told(packed, tmp_path):
    shard = next(packed.glob("chunk-0-0.bin"))
    content = bytearray(shard.read_bytes())
    content[-7] ^= 1
    shard.write_bytes(content)
    images = module(f"local:{packed}", tmp_path).train_images.hr
    with pytest.raises(UserError, match=r"chunk-0-0\.bin is not what was packed"):
        images[0]
    assert not list((tmp_path / "kept").glob("*/*.bin*"))
    shard.write_bytes(content[:-1])
    with pytest.raises(UserError, match=r"has \d+ bytes, but "):
        module(packed, tmp_path).train_images.hr[0]
    shard.unlink()
    with pytest.raises(TrainingFailedError, match=r"cannot fetch local:.*chunk-0-0\.bin"):
        images[0]


def test_what_a_run_refuses(packed, many, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"needs images of 400 pixels.*smaller: a/00\.png"):
        module(packed, tmp_path, patch_size=100)
    data = module(packed, tmp_path, patch_size=25, on_small="skip")
    large = [i for i in range(24) if 96 + i >= 100 and 97 + i % 5 >= 100]
    assert len(data.train_images.hr) == len(large)
    assert {min(size) for size in data.train_images.hr.sizes} == {100, 101}
    assert len(json.loads(data.train_images.hr.derived_file(".hashes1.json").read_text())) == len(large)
    with pytest.raises(UserError, match=r"data\.shards: found beside .*shrink"):
        module(packed, tmp_path, shrink=[0.5])
    with pytest.raises(UserError, match=r"found data\.train_dir, data\.shards, allowed: one of them"):
        module(packed, tmp_path, train_dir=str(many))
    with pytest.raises(UserError, match=r"data\.shards\.max_cache_gb: found 0\.0001.* need 0\.00097; allowed: that"):
        module(f"local:{packed}", tmp_path, spread=100, kept_gb=1e-4)
    with pytest.raises(UserError, match=r"cannot fetch local:.*nowhere/pictures\.json"):
        module(f"local:{tmp_path}/nowhere", tmp_path)
    shard_files._downloader.cache_clear()
    monkeypatch.setitem(sys.modules, "litdata.streaming.downloader", None)
    with pytest.raises(UserError, match=r"needs litdata; allowed: pip install 'sr_lightning\[streaming\]'"):
        module(f"local:{packed}", tmp_path)


def test_a_tested_image_among_the_packed_ones_is_told(packed, many, tmp_path, caplog):
    module(packed, tmp_path, val={"Mine": str(many / "a")})
    assert "Mine holds 12 of the training images" in caplog.text


def test_packing_leaves_a_whole_folder_or_none(many, tmp_path, capsys):
    (many / "a" / "03.png").write_bytes(b"no image")
    (many / "b" / "05.png").write_bytes((many / "b" / "05.png").read_bytes()[:500])
    assert main([f"input={many}", "output=out"]) == 2
    err = capsys.readouterr().err
    assert "03.png: is not an image" in err
    assert "05.png: cannot be decoded" in err
    assert "2 of 24 files cannot be used" in err
    assert [path.name for path in tmp_path.iterdir()] == ["many"]
    assert main([f"input={many}", "output=out", "on_bad_image=skip"]) == 0
    out = capsys.readouterr().out
    assert "left out 2 of 24 files" in out
    assert "22 images" in out
    assert " MB in 1 shard, " in out
    assert main([f"input={many}", "output=rest", "exclude_files=[a/03.png, b/05.png]"]) == 0
    assert "22 images" in capsys.readouterr().out
    assert main([f"input={many}", "output=none", "exclude_files=[a/99.png]"]) == 2
    assert "exclude_files: a/99.png: found among no images of input" in capsys.readouterr().err
    assert main([f"input={many}", "output=out"]) == 2
    assert "output: out already exists" in capsys.readouterr().err
    assert os.stat("out").st_mode & 0o777 == 0o777 & ~os.umask(os.umask(0o22) and 0o22)


def test_packing_names_what_is_wrong_before_anything_is_imported(capsys):
    assert main(["input=nowhere", "output=out", "shard_mb=many", "on_bad_image=skp"]) == 2
    err = capsys.readouterr().err
    assert "shard_mb: found 'many', allowed: a whole number" in err
    assert "on_bad_image: found 'skp', did you mean 'skip'?" in err
    assert main(["output=out"]) == 2
    assert "input: must be given" in capsys.readouterr().err
    assert main(["input=nowhere", "output=out"]) == 2
    assert "input: nowhere is not there" in capsys.readouterr().err


def test_a_run_is_told_what_is_wrong_before_anything_is_imported(many, capsys, monkeypatch):
    from sr_lightning.config import path_check
    from sr_lightning.train import main as train

    assert train(["data=streaming", "data.shards.folder=x", "data.shards.spread=0", "data.store_limit_gb=-1"]) == 2
    err = capsys.readouterr().err
    assert "data.shards.spread: found 0, allowed: 1 and more" in err
    assert "data.store_limit_gb: found -1.0, allowed: 0 and more" in err
    assert train(["data=streaming", f"data.shards.folder={many}"]) == 2
    assert f"data.shards.folder: {many} holds no packed images; allowed: what `python -m" in capsys.readouterr().err
    monkeypatch.setattr(path_check, "find_spec", lambda name: None)
    assert train(["data=streaming", "data.shards.folder=s3://bucket/set"]) == 2
    assert "needs litdata; allowed: pip install 'sr_lightning[streaming]'" in capsys.readouterr().err


def test_a_full_disk_is_told_before_packing(many, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sr_lightning.data.shards.writer.free_bytes", lambda folder: 1000)
    needed = sum((96 + i) * (97 + i % 5) * 3 for i in range(24)) / 1e9
    assert main([f"input={many}", "output=out"]) == 2
    assert f"24 images need {needed:.3g} GB, but" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_run_on_shards_is_not_continued_on_those_of_another_place(packed, capsys):
    from sr_lightning.train import main as train

    settings = ["data=streaming", f"data.shards.folder={packed}", "data.shards.spread=2", "data.num_workers=0"]
    settings += ["data.batch_size=8", "data.patch_size=12", "data.val_crop=96", "~data.test.sample_test"]
    settings += ["model.n_feats=4", "model.n_resblocks=1", "trainer=cpu", "trainer.precision=32", "logger=csv"]
    settings += ["trainer.max_steps=2", "trainer.val_check_interval=2"]
    assert train([*settings, "hydra.run.dir=a"]) == 0
    capsys.readouterr()
    assert train(["ckpt_path=a", f"data.shards.folder=local:{packed}"]) == 2  # another place is another key
    assert "data.shards.folder: the run was started with " in capsys.readouterr().err


def test_a_request_is_cut_from_as_many_shards_as_it_needs(packed, tmp_path):
    data = module(packed, tmp_path)
    samples = data.train_dataloader().dataset
    samples[BatchRequest(range(48), 4, 48)]
    assert len(data.train_images.hr._open) <= 4  # spread and two more
