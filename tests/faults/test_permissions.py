"""Files and folders that this user may not read or write, refused by the system itself."""

import contextlib
import logging
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from sr_lightning.data.cache.store import ImageStore
from sr_lightning.data.duplicates.stored_hashes import stored_hashes
from sr_lightning.data.files import find_images
from sr_lightning.errors import UserError
from sr_lightning.runs.lock import locked

pytestmark = pytest.mark.usefixtures("_small_runs")


@contextlib.contextmanager
def nobody():
    """Root may do everything; within the block this process is somebody else."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder():
    """One that everybody may enter; pytest's own are root's alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.fault("T6", "refused at the start")
def test_a_folder_that_is_somebody_elses(open_folder):
    open_folder.chmod(0o555)
    said = r"hydra\.run\.dir: cannot write into .*a: Permission denied"
    with nobody(), pytest.raises(UserError, match=said), locked(open_folder / "a", "hydra.run.dir"):
        pass
    assert list(open_folder.iterdir()) == []


@pytest.mark.fault("T6", "used as it is; what cannot be kept is worked out again")
def test_a_whole_cache_that_is_read_only(open_folder, caplog):
    (open_folder / "in").mkdir()
    for i in range(2):
        Image.new("RGB", (64, 64), (i, i, i)).save(open_folder / "in" / f"{i}.png")
    cache = open_folder / "cache"
    ImageStore(find_images(open_folder / "in"), cache)
    cache.chmod(0o555)
    with nobody(), caplog.at_level(logging.INFO):
        store = ImageStore(find_images(open_folder / "in"), cache)
        hashes = stored_hashes(store, orientations=8)
    assert "hashes8.json: cannot be written (Permission denied)" in caplog.text
    assert len(store) == len(hashes.pixels) == 2


@pytest.mark.fault("D18", "refused by name")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_closed_to_this_user(open_folder, what):
    (open_folder / "in").mkdir()
    for name in ("a.png", "in/b.png"):
        Image.new("RGB", (8, 8)).save(open_folder / name)
    (open_folder / ("a.png" if what == "file" else "in")).chmod(0)
    named = r"a\.png" if what == "file" else "in"
    with nobody(), pytest.raises(UserError, match=rf"cannot read .*{named}: Permission denied"):
        ImageStore(find_images(open_folder), open_folder / "cache")
