"""Decoded once, shared, and rebuilt when a file changes."""

import logging
import pickle

import numpy as np
import pytest
from PIL import Image

from sr_lightning.data.files import find_pictures
from sr_lightning.data.store import PictureStore
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
