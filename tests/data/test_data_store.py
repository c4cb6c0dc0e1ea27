"""Decoded once, shared, and rebuilt when a file changes."""

import logging
import pickle

import numpy as np
import pytest
from PIL import Image

from sr_lightning.data import SRDataModule
from sr_lightning.data.files import find_pictures
from sr_lightning.data.store import PictureStore, Shrink
from sr_lightning.errors import UserError


def test_pixels_are_those_of_the_files(folder, tmp_path):
    paths = find_pictures(folder)
    store = PictureStore(paths, tmp_path / "cache")
    assert len(store) == 6
    for i, path in enumerate(paths):
        expected = np.asarray(Image.open(path))
        np.testing.assert_array_equal(store[i], expected)
        assert store.sizes[i] == expected.shape[:2]


def test_a_second_store_decodes_nothing(folder, tmp_path, caplog):
    PictureStore(find_pictures(folder), tmp_path / "cache")
    with caplog.at_level(logging.INFO):
        PictureStore(find_pictures(folder), tmp_path / "cache")
    assert "decoding" not in caplog.text


def test_a_changed_file_makes_a_new_store_and_a_moved_folder_does_not(folder, tmp_path, picture, caplog):
    first = PictureStore(find_pictures(folder), tmp_path / "cache")
    moved = folder.rename(tmp_path / "elsewhere")
    assert PictureStore(find_pictures(moved), tmp_path / "cache").key == first.key
    Image.fromarray(picture(96, 112, 99)).save(moved / "img_0.png")  # same name and size, other pixels
    second = PictureStore(find_pictures(moved), tmp_path / "cache")
    assert second.key != first.key
    np.testing.assert_array_equal(second[0], picture(96, 112, 99))


def test_it_travels_to_workers_without_its_pixels(folder, tmp_path):
    store = PictureStore(find_pictures(folder), tmp_path / "cache")
    expected = store[3].copy()
    data = pickle.dumps(store)
    assert len(data) < 5000
    np.testing.assert_array_equal(pickle.loads(data)[3], expected)


def test_pixels_are_read_only(folder, tmp_path):
    store = PictureStore(find_pictures(folder), tmp_path / "cache")
    with pytest.raises(ValueError, match="read-only"):
        store[0][0, 0] = 1


def test_a_damaged_picture_is_named_and_leaves_nothing_behind(folder, tmp_path):
    data = (folder / "img_2.png").read_bytes()
    (folder / "img_2.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"img_2\.png: cannot be decoded"):
        PictureStore(find_pictures(folder), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_unwritable_cache_is_named(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"paths\.cache: cannot write"):
        PictureStore(find_pictures(folder), tmp_path / "file" / "cache")


def test_shrunk_copies_follow_their_picture(folder, tmp_path):
    """Pillow's bicubic has MATLAB's kernel, but rounds after each of its two passes."""
    paths = find_pictures(folder)
    store = PictureStore(paths, tmp_path / "cache", shrink=Shrink((0.75, 0.5), least=50))
    assert [path.name for path in store.paths[:5]] == ["img_0.png", "img_0.png", "img_1.png", "img_1.png", "img_2.png"]
    assert len(store) == 6 + 6 + 1  # halved, only img_5 (110x103) still has 50 pixels on its shorter side
    assert store.sizes[:2] == [(96, 112), (72, 84)]
    expected = np.asarray(Image.open(paths[0]).resize((84, 72), Image.Resampling.BICUBIC))
    difference = np.abs(expected.astype(int) - store[1])[2:-2, 2:-2]
    assert difference.max() <= 2
    assert PictureStore(paths, tmp_path / "cache").key != store.key


def test_training_pictures_are_shrunk_and_evaluated_ones_are_not(folder, tmp_path):
    data = SRDataModule(
        train_dir=str(folder), cache_dir=str(tmp_path / "cache"), shrink=[0.8], patch_size=12, val_holdout=2
    )
    data.setup("fit")
    assert len(data.train_pictures.hr) == 8
    assert len(data.val_sets[0].hr) == 2
    with pytest.raises(UserError, match=r"data\.shrink: found 1\.5"):
        SRDataModule(train_dir=str(folder), cache_dir=str(tmp_path / "cache"), shrink=[1.5], patch_size=12).setup("fit")


def test_ready_made_pairs_are_not_shrunk(folder, tmp_path):
    (tmp_path / "LR").mkdir()
    for path in find_pictures(folder):
        with Image.open(path) as hr:
            hr.resize((hr.width // 4, hr.height // 4)).save(tmp_path / "LR" / path.name)
    data = SRDataModule(
        train_dir=str(folder),
        train_lr_dir=str(tmp_path / "LR"),
        cache_dir=str(tmp_path / "cache"),
        shrink=[0.5],
        patch_size=12,
        val_holdout=1,
    )
    with pytest.raises(UserError, match=r"data\.shrink: shrinks HR pictures"):
        data.setup("fit")
