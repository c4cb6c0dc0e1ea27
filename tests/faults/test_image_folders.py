"""Folders of images: links, odd names, closed files, foreign files, order on the disk (D16 to D18, D20, D22)."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.faulty_images import NOISE, encoded, names, setup
from sr_lightning.data.files import find_images
from sr_lightning.data.sampling.sampler import BatchRequest
from sr_lightning.errors import UserError


@pytest.mark.fault("D16", "each real file once")
def test_D16_links_lead_to_each_real_file_once(folder):
    (folder / "up").symlink_to(folder.parent)
    (folder / "img_0_again.png").symlink_to(folder / "img_0.png")
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    assert [path.name for path in find_images(folder)] == [f"img_{i}.png" for i in range(6)]


ODD = (
    "with space.png",
    "größe ✓.png",
    "x" * 200 + ".png",
    "new\nline.png",
    "<img src=x onerror=alert(1)>.png",
    "$(touch canary).png",
    "-rf.png",
    "up..%2f..%2f.png",
    "[red]a[bold].png",
    "\x1b[2J.png",
)


@pytest.mark.fault("D17", "read")
def test_D17_names_may_be_anything(tmp_path):
    (tmp_path / "in").mkdir()
    for i, name in enumerate(ODD):
        Image.fromarray(NOISE + np.uint8(20 * i)).save(tmp_path / "in" / name, format="PNG")
    data = setup(tmp_path / "in", tmp_path, val_holdout=3, on_small="mirror")
    assert sorted(names(data.train_images) + names(data.val_sets[0])) == sorted(ODD)


@pytest.mark.fault("D17", "refused, all of them, escaped")
def test_D17_names_that_are_no_text_are_refused(tmp_path):
    """They could be printed nowhere: neither in a table nor in a log."""
    (tmp_path / "in").mkdir()
    for name in (b"/\xff.png", b"/\xfe.png"):
        with open(os.fsencode(tmp_path / "in") + name, "wb") as file:
            file.write(encoded("PNG"))
    with pytest.raises(UserError, match=r"data\.train_dir: names .* not in UTF-8: .*udcfe\.png.*udcff\.png") as caught:
        setup(tmp_path / "in", tmp_path, val_holdout=0)
    assert str(caught.value).isprintable()


@pytest.mark.fault("D18", "refused by name, never skipped")
def test_D18_files_and_folders_that_may_not_be_read(folder, tmp_path, monkeypatch):
    """As root everything may be read, so the refusal is the system's in place of its permissions."""
    real_open, real_scandir = Path.open, os.scandir

    def refuse(self, *arguments, **settings):
        if self.name in ("img_1.png", "img_4.png"):
            raise PermissionError(13, "Permission denied", str(self))
        return real_open(self, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        for on_bad_image in ("error", "skip"):  # the image may be a good one: nothing to skip
            with pytest.raises(UserError, match=r"cannot read .*img_1\.png: Permission denied\n.*img_4\.png"):
                setup(folder, tmp_path, on_bad_image=on_bad_image, val_holdout=0)
    (folder / "closed").mkdir()

    def closed(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(UserError, match=r"cannot read .*closed: Permission denied"):
        setup(folder, tmp_path)


@pytest.mark.fault("D18", "refused by name, never skipped")
def test_D18_a_failing_disk_is_not_a_bad_image(folder, tmp_path):
    if not Path("/proc/self/mem").exists():
        pytest.skip("needs a file that opens and cannot be read")
    (folder / "img_9.png").symlink_to("/proc/self/mem")
    with pytest.raises(UserError, match=r"cannot read .*img_9\.png: Input/output error"):
        setup(folder, tmp_path, on_bad_image="skip")


@pytest.mark.parametrize("kind", ["empty", "folders_only", "hidden_only", "foreign_only"])
@pytest.mark.fault("D20", "refused, with what was found instead")
def test_D20_a_folder_without_images(tmp_path, kind):
    place = tmp_path / "in"
    (place / "a" / "b").mkdir(parents=True) if kind == "folders_only" else place.mkdir()
    if kind == "hidden_only":
        (place / ".DS_Store").touch()
        (place / "._a.png").write_bytes(encoded("PNG"))
    if kind == "foreign_only":
        (place / "Thumbs.db").touch()
    with pytest.raises(
        UserError, match=r"data\.train_dir: no image in .*in: found (no file|only files with the extensions \.db)"
    ):
        setup(place, tmp_path)


@pytest.mark.fault("D20", "left out")
def test_D20_hidden_and_foreign_files_beside_images(folder):
    for name in (".DS_Store", "Thumbs.db", "._img_0.png", ".hidden/a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert len(find_images(folder)) == 6


@pytest.mark.fault("D22", "the same order and the same batches")
def test_D22_the_order_on_the_disk_does_not_matter(folder, tmp_path, monkeypatch):
    def batches():
        data = setup(folder, tmp_path, augment=True)
        found = data.train_dataloader().dataset[BatchRequest(range(8), 4, 8)]
        return names(data.train_images), data.fingerprint(), found.hr

    first = batches()
    real = os.scandir

    class Reversed(list):
        def __init__(self, path):
            super().__init__(list(real(path))[::-1])

        def __enter__(self):
            return iter(self)

        def __exit__(self, *_):
            pass

        def __next__(self):
            if not self:
                raise StopIteration
            return self.pop(0)

        def close(self):
            pass

    monkeypatch.setattr(os, "scandir", Reversed)
    for path in list(folder.iterdir())[::2]:
        os.utime(path, (0, 0))
    second = batches()
    assert first[:2] == second[:2]
    assert torch.equal(first[2], second[2])
