"""Decoded once, shared, and rebuilt when a file changes."""

import itertools
import logging
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.stub_trainer import stub_trainer
from sr_lightning.data import SRDataModule
from sr_lightning.data.cache.store import ImageStore, Shrink
from sr_lightning.data.degradations.base import Downscale
from sr_lightning.data.degradations.realworld import Classical
from sr_lightning.data.files import find_images
from sr_lightning.errors import FailedError, UserError


def test_pixels_are_those_of_the_files(folder, tmp_path):
    paths = find_images(folder)
    store = ImageStore(paths, tmp_path / "cache")
    assert len(store) == 6
    for i, path in enumerate(paths):
        expected = np.asarray(Image.open(path))
        np.testing.assert_array_equal(store[i], expected)
        assert store.sizes[i] == expected.shape[:2]


def test_a_second_store_decodes_nothing(folder, tmp_path, caplog):
    ImageStore(find_images(folder), tmp_path / "cache")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        ImageStore(find_images(folder), tmp_path / "cache")
    assert "decoding" not in caplog.text


def test_a_changed_file_makes_a_new_store_and_a_moved_folder_does_not(folder, tmp_path, image, caplog):
    first = ImageStore(find_images(folder), tmp_path / "cache")
    moved = folder.rename(tmp_path / "elsewhere")
    assert ImageStore(find_images(moved), tmp_path / "cache").key == first.key
    Image.fromarray(image(96, 112, 99)).save(moved / "img_0.png")  # same name and size, other pixels
    second = ImageStore(find_images(moved), tmp_path / "cache")
    assert second.key != first.key
    np.testing.assert_array_equal(second[0], image(96, 112, 99))


def test_it_travels_to_workers_without_its_pixels(folder, tmp_path):
    store = ImageStore(find_images(folder), tmp_path / "cache")
    expected = store[3].copy()
    data = pickle.dumps(store)
    assert len(data) < 5000
    np.testing.assert_array_equal(pickle.loads(data)[3], expected)


def test_pixels_are_read_only(folder, tmp_path):
    store = ImageStore(find_images(folder), tmp_path / "cache")
    with pytest.raises(ValueError, match="read-only"):
        store[0][0, 0] = 1


def test_a_damaged_image_is_named_and_leaves_nothing_behind(folder, tmp_path):
    data = (folder / "img_2.png").read_bytes()
    (folder / "img_2.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"img_2\.png: cannot be decoded"):
        ImageStore(find_images(folder), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_unwritable_cache_is_named(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"paths\.cache: cannot write"):
        ImageStore(find_images(folder), tmp_path / "file" / "cache")


def test_shrunk_copies_follow_their_image(folder, tmp_path):
    """Pillow's bicubic has MATLAB's kernel, but rounds after each of its two passes."""
    paths = find_images(folder)
    store = ImageStore(paths, tmp_path / "cache", shrink=Shrink((0.75, 0.5), least=50))
    assert [path.name for path in store.paths[:5]] == ["img_0.png", "img_0.png", "img_1.png", "img_1.png", "img_2.png"]
    assert len(store) == 6 + 6 + 1  # halved, only img_5 (110x103) still has 50 pixels on its shorter side
    assert store.sizes[:2] == [(96, 112), (72, 84)]
    expected = np.asarray(Image.open(paths[0]).resize((84, 72), Image.Resampling.BICUBIC))
    difference = np.abs(expected.astype(int) - store[1])[2:-2, 2:-2]
    assert difference.max() <= 2
    assert ImageStore(paths, tmp_path / "cache").key != store.key


def test_training_images_are_shrunk_and_evaluated_ones_are_not(folder, tmp_path):
    data = SRDataModule(
        train_dir=str(folder), cache_dir=str(tmp_path / "cache"), shrink=[0.8], patch_size=12, val_holdout=2
    )
    data.setup("fit")
    assert len(data.train_images.hr) == 8
    assert len(data.val_sets[0].hr) == 2
    with pytest.raises(UserError, match=r"data\.shrink: found 1\.5"):
        SRDataModule(train_dir=str(folder), cache_dir=str(tmp_path / "cache"), shrink=[1.5], patch_size=12).setup("fit")


def test_ready_made_pairs_are_not_shrunk(folder, tmp_path):
    (tmp_path / "LR").mkdir()
    for path in find_images(folder):
        with Image.open(path) as hr:
            hr.resize((hr.width // 4, hr.height // 4)).save(tmp_path / "LR" / path.name)
    with pytest.raises(UserError, match=r"data\.shrink: shrinks HR images"):
        SRDataModule(train_dir=str(folder), train_lr_dir=str(tmp_path / "LR"), shrink=[0.5], val_holdout=1)


def samples(folder, tmp_path, **settings):
    """The first training batches, and the module."""
    defaults = {"train_dir": str(folder), "cache_dir": str(tmp_path / "cache"), "patch_size": 12, "shrink": [0.8]}
    data = SRDataModule(**defaults | {"val_holdout": 2, "batch_size": 4} | settings)
    data.trainer = stub_trainer()
    data.setup("fit")
    windows = itertools.islice(data.train_dataloader(), 12)
    return [data.on_after_batch_transfer(batch, 0) for batch in windows], data


def equal(some, others):
    return all(
        torch.equal(a.lr, b.lr) and torch.equal(a.hr, b.hr) and a.scale == b.scale
        for a, b in zip(some, others, strict=True)
    )


def test_what_exceeds_the_limit_is_decoded_on_demand_into_the_same_samples(folder, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        slow, without = samples(folder, tmp_path, store_limit_gb=1e-5)
    needed = sum(h * w * 3 for h, w in [(96, 112), (120, 96), (99, 130), (110, 103)]) * (1 + 0.8**2) / 1e9
    assert f"4 images are {needed:.3g} GB when decoded, but data.store_limit_gb allows 1e-05: each" in caplog.text
    assert not list((tmp_path / "cache").glob("*.rgb8"))
    (again, _), (workers, _) = (
        samples(folder, tmp_path, store_limit_gb=1e-5, num_workers=workers) for workers in (0, 2)
    )
    fast, with_store = samples(folder, tmp_path)
    assert all(equal(slow, other) for other in (again, workers, fast))
    assert without.fingerprint() == with_store.fingerprint()
    with_store.load_state_dict(without.state_dict())
    with_store.train_dataloader()  # a run may continue with either


def test_what_is_decoded_on_demand_is_kept_within_bounds(folder, tmp_path, monkeypatch):
    from sr_lightning.data.cache import builder as building

    paths = find_images(folder)
    demanded = ImageStore(paths, tmp_path / "cache", limit=0)._images
    demanded.kept_bytes = 80_000  # two of the images, which have 27,648 to 38,610 bytes
    decoded = []
    real = building.decode
    monkeypatch.setattr(building, "decode", lambda path: (decoded.append(path.name), real(path))[1])
    for i in (0, 1, 0, 2, 0, 1):
        np.testing.assert_array_equal(demanded[i], np.asarray(Image.open(paths[i])))
    assert decoded == ["img_0.png", "img_1.png", "img_2.png", "img_1.png"]
    assert sum(p.nbytes for images in demanded._kept.values() for p in images) <= 80_000
    Image.fromarray(np.zeros((96, 112, 3), np.uint8)).save(paths[3])
    with pytest.raises(FailedError, match=r"img_3\.png: was changed while it was read"):
        demanded[3]


def test_images_decoded_on_demand_are_all_looked_at_before_training(folder, tmp_path):
    (folder / "img_2.png").write_bytes((folder / "img_2.png").read_bytes()[:900])
    with pytest.raises(UserError, match=r"img_2\.png: cannot be decoded"):
        ImageStore(find_images(folder), tmp_path / "cache", limit=0)


@pytest.mark.parametrize("free", [True, False], ids=["foreseen", "met"])
def test_a_full_disk_means_decoding_on_demand(folder, tmp_path, monkeypatch, caplog, free):
    """As `df` says it, or as `write` does, because others write too."""
    from sr_lightning.data.cache import builder as building

    if free:
        monkeypatch.setattr(building, "free_bytes", lambda folder: 1000)
    else:
        real = Path.open

        def full(self, mode="r", *args, **kwargs):
            is_store = self.suffix == ".rgb8" and "w" in mode
            return real(Path("/dev/full") if is_store else self, mode, *args, **kwargs)

        monkeypatch.setattr(Path, "open", full)
    with caplog.at_level(logging.INFO):
        store = ImageStore(find_images(folder), tmp_path / "cache")
    assert ("has room for 1e-06" if free else "no room is left in") in caplog.text
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"{store.key}.sizes.json"]
    np.testing.assert_array_equal(store[4], np.asarray(Image.open(folder / "img_4.png")))


def test_two_that_build_at_once_build_once_and_agree(folder, tmp_path, monkeypatch):
    from sr_lightning.data.cache import builder as building

    built = []
    real = building._build

    def slowly(*arguments):
        built.append(arguments)
        time.sleep(0.2)
        return real(*arguments)

    monkeypatch.setattr(building, "_build", slowly)
    left = tmp_path / "cache" / f"part-{ImageStore(find_images(folder), tmp_path / 'other').key}-killed_1"
    left.mkdir(parents=True)
    built.clear()
    with ThreadPoolExecutor(3) as pool:  # flock tells open files apart, not processes
        stores = list(pool.map(lambda _: ImageStore(find_images(folder), tmp_path / "cache"), range(3)))
    assert len(built) == 1
    assert all(np.array_equal(stores[0][i], store[i]) for store in stores for i in range(6))
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".json", ".rgb8"]


def made(tmp_path):
    return sorted(path.name.partition(".")[2] for path in (tmp_path / "cache").glob("*.x*.rgb8"))


@pytest.mark.parametrize("kernel", ["bicubic", "bicubic_double", "bilinear", "box"])
@pytest.mark.parametrize("settings", [{}, {"patch_size": 40, "on_small": "mirror"}], ids=["inside", "mirrored"])
def test_lr_images_made_once_give_the_samples_that_windows_would(folder, tmp_path, kernel, settings):
    """Sizes are no multiples of the scales; a patch of 40 at x4 reaches over every image's border."""
    with_workers = kernel == "bicubic" and not settings
    settings = {
        "scale": [2, 3, 4],
        "kernel": kernel,
        "shrink": [0.8, 0.6],
        "batch_size": 16,
        "permute_channels": True,
    } | settings
    with_lr, _ = samples(folder, tmp_path, **settings)
    assert made(tmp_path) == [f"x{scale}.matlab_{kernel}-2.rgb8" for scale in (2, 3, 4)]
    from_windows, _ = samples(folder, tmp_path / "other", store_limit_gb=1e-5, **settings)
    assert not made(tmp_path / "other")
    assert {batch.scale for batch in with_lr} == {2, 3, 4}
    assert equal(with_lr, from_windows)
    if with_workers:  # they read the same files, whatever the kernel
        again, _ = samples(folder, tmp_path, num_workers=2, **settings)
        assert equal(with_lr, again)


class Darker(Downscale):
    """Says that it is what it is derived from."""

    def __call__(self, hr, scale, keys=()):
        return super().__call__(hr, scale) // 2


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel": "nearest"},  # not the same for a mirrored image
        {"kernel": "lanczos3"},  # not exact
        {"degradation": Classical()},  # another for each sample
        {"degradation": Darker()},  # who derives a class from it may do anything
        {"store_limit_gb": 1.43e-4},  # HR has 139,416 bytes, LR 8,500
        {"scale": [2, 8], "patch_size": 6, "store_limit_gb": 1.43e-4},
    ],
)
def test_lr_images_are_not_made_where_they_would_be_others_or_too_many(folder, tmp_path, settings):
    batches, _ = samples(folder, tmp_path, shrink=None, **settings)
    assert made(tmp_path) == (["x8.matlab_bicubic-2.rgb8"] if "scale" in settings else [])
    from_windows, _ = samples(folder, tmp_path / "other", shrink=None, **settings | {"store_limit_gb": 1e-5})
    assert equal(batches, from_windows)
    assert len(list((tmp_path / "cache").glob("*.rgb8"))) == (2 if "scale" in settings else 1) + 1  # the held-out ones


def test_a_disk_too_full_for_lr_images_keeps_the_hr_images(folder, tmp_path, monkeypatch, caplog):
    expected, _ = samples(folder, tmp_path / "other")
    real = Path.open

    def full(self, mode="r", *args, **kwargs):
        is_lr = self.name.endswith("_bicubic-2.rgb8") and "w" in mode
        return real(Path("/dev/full") if is_lr else self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    with caplog.at_level(logging.INFO):
        found, _ = samples(folder, tmp_path)
    assert "x4.matlab_bicubic-2.rgb8: cannot be written (No space left on device)" in caplog.text
    assert equal(found, expected)
    assert not made(tmp_path)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.endswith((".lock", "-2.json"))]
    assert not list((tmp_path / "cache").glob("part-*"))


def test_a_store_that_is_made_again_takes_its_lr_images_with_it(folder, tmp_path):
    """The same files give other pixels where another version of a library decodes them."""
    expected, _ = samples(folder, tmp_path)
    for name in made(tmp_path):
        (lr,) = (tmp_path / "cache").glob(f"*.{name}")
        lr.write_bytes(b"\xff" * lr.stat().st_size)
        (tmp_path / "cache" / f"{lr.name.partition('.')[0]}.rgb8").unlink()
    assert equal(samples(folder, tmp_path)[0], expected)
