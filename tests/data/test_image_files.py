"""Which files are images, in which order, and which belong together."""

import os

import pytest
from PIL import Image

from sr_lightning.data.files import find_images, pair_images
from sr_lightning.errors import UserError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(path, format="PNG")


def names(paths, root):
    return [str(path.relative_to(root)) for path in paths]


def test_recursive_sorted_and_case_ignored(tmp_path):
    touch(tmp_path, "b.PNG", "a.JpEg", "sub/c.png", "sub/notes.txt", "A.tif")
    assert names(find_images(tmp_path), tmp_path) == ["A.tif", "a.JpEg", "b.PNG", "sub/c.png"]


def test_extension_filter_with_and_without_dot(tmp_path):
    touch(tmp_path, "a.png", "b.jpg", "c.bmp")
    assert names(find_images(tmp_path, extensions=["PNG", ".bmp"]), tmp_path) == ["a.png", "c.bmp"]


def test_order_does_not_depend_on_the_disk(tmp_path, monkeypatch):
    touch(tmp_path, *(f"{i}.png" for i in range(9)), "x/1.png")
    expected = find_images(tmp_path)
    real = os.scandir

    class Reversed:
        def __init__(self, path):
            self.entries = list(real(path))[::-1]

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

        def __iter__(self):
            return iter(self.entries)

        def __next__(self):
            if not self.entries:
                raise StopIteration
            return self.entries.pop(0)

        def close(self):
            pass

    monkeypatch.setattr(os, "scandir", Reversed)
    assert find_images(tmp_path) == expected


def test_hidden_files_and_links_are_left_out(tmp_path):
    touch(tmp_path, "a.png", ".hidden.png", ".thumbs/x.png", "sub/b.png")
    (tmp_path / "z_link.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    assert names(find_images(tmp_path), tmp_path) == ["a.png", "sub/b.png"]


@pytest.mark.parametrize(
    ("content", "said"),
    [([], "found no file at all"), (["a.txt", "b.gif"], r"\.gif, \.txt"), (["d/.keep"], "found no file at all")],
)
def test_nothing_found_says_what_is_there(tmp_path, content, said):
    touch(tmp_path, *content)
    with pytest.raises(UserError, match=said):
        find_images(tmp_path, key="data.train_dir")


def test_missing_folder_and_missing_file_are_named(tmp_path):
    with pytest.raises(UserError, match=r"data.train_dir: .*nowhere is not a folder"):
        find_images(tmp_path / "nowhere", key="data.train_dir")
    touch(tmp_path, "a.png")
    with pytest.raises(UserError, match=r"lacks b\.png"):
        find_images(tmp_path, files=["a.png", "b.png"])


@pytest.mark.parametrize(
    ("hr", "lr"),
    [("0001.png", "0001.png"), ("0001.png", "0001x4.png"), ("a.png", "a_x4.jpg"), ("i_SRF_4_HR.png", "i_SRF_4_LR.png")],
)
def test_pairs_by_the_usual_names(tmp_path, hr, lr):
    touch(tmp_path, f"HR/{hr}", f"X4/{lr}")
    files = find_images(tmp_path / "HR")
    assert names(pair_images(files, str(tmp_path / "X{scale}"), 4, hr_folder=tmp_path / "HR"), tmp_path) == [f"X4/{lr}"]


def test_missing_extra_and_ambiguous_pairs_are_named(tmp_path):
    touch(tmp_path, "HR/a.png", "HR/b.png", "LR/a.png", "LR/c.png")
    files = find_images(tmp_path / "HR")
    with pytest.raises(UserError, match=r"b\.png: expected one LR file.*found none\n.*belongs to c\.png"):
        pair_images(files, str(tmp_path / "LR"), 2, hr_folder=tmp_path / "HR")
    touch(tmp_path, "LR/b.png")
    with pytest.raises(UserError, match=r"no HR image belongs to c\.png"):
        pair_images(files, str(tmp_path / "LR"), 2, hr_folder=tmp_path / "HR")
    (tmp_path / "LR" / "c.png").unlink()
    touch(tmp_path, "LR/b.jpg")
    with pytest.raises(UserError, match=r"found several: b\.jpg, b\.png"):
        pair_images(files, str(tmp_path / "LR"), 2, hr_folder=tmp_path / "HR")


def test_pairs_in_equal_sub_folders(tmp_path):
    """As video sets lie: every folder has a file 0001."""
    touch(tmp_path, "HR/a/1.png", "HR/b/1.png", "HR/b/2.png", "X4/a/1x4.png", "X4/b/1x4.png", "X4/b/2x4.png")
    files = find_images(tmp_path / "HR")
    found = pair_images(files, str(tmp_path / "X{scale}"), 4, hr_folder=tmp_path / "HR")
    assert names(found, tmp_path / "X4") == ["a/1x4.png", "b/1x4.png", "b/2x4.png"]
    (tmp_path / "X4/b/1x4.png").unlink()
    with pytest.raises(UserError, match=r"b/1\.png: expected one LR file .*found none$"):  # not the one of folder a
        pair_images(files, str(tmp_path / "X{scale}"), 4, hr_folder=tmp_path / "HR")
    (tmp_path / "X4/b/1x4.png").touch()
    (tmp_path / "X4/b/2x4.png").rename(tmp_path / "X4/2x4.png")  # the only one of that name
    found = pair_images(files, str(tmp_path / "X{scale}"), 4, hr_folder=tmp_path / "HR")
    assert names(found, tmp_path / "X4") == ["a/1x4.png", "b/1x4.png", "2x4.png"]
