"""Images and caches that are replaced, cut or deleted meanwhile (D23)."""

import os

import numpy as np
import pytest
import torch

from helpers.faulty_images import encoded, setup
from sr_lightning.data.cache.store import ImageStore
from sr_lightning.data.files import find_images
from sr_lightning.data.sampling.sampler import BatchRequest
from sr_lightning.errors import UserError
from sr_lightning.image.decoder import decode


@pytest.mark.fault("D23", "the same batches")
def test_D23_files_that_go_while_training_are_not_missed(folder, tmp_path):
    data = setup(folder, tmp_path)
    before = data.train_dataloader().dataset[BatchRequest(range(8), 4, 8)].hr
    for path in folder.iterdir():
        path.unlink()
    assert torch.equal(data.train_dataloader().dataset[BatchRequest(range(8), 4, 8)].hr, before)


@pytest.mark.parametrize("what", ["replaced", "deleted"])
@pytest.mark.fault("D23", "refused by name, nothing kept of it")
def test_D23_a_file_that_changes_while_it_is_read(folder, tmp_path, monkeypatch, what):
    """Its pixels would lie in the cache under the old content's key, for every run to come."""
    import sr_lightning.data.cache.builder as building

    def late(path):
        found = decode(path)
        if path.name == "img_3.png":
            path.write_bytes(encoded("PNG")) if what == "replaced" else path.unlink()
        return found

    monkeypatch.setattr(building, "decode", late)
    with pytest.raises(UserError, match=r"img_3\.png: (was changed while it was read|No such file)"):
        ImageStore(find_images(folder), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.fault("D23", "made again")
def test_D23_a_cache_that_was_cut_or_emptied_is_made_again(folder, tmp_path):
    paths = find_images(folder)
    first = ImageStore(paths, tmp_path / "cache")
    expected = first[5].copy()
    (pixels,), (index,) = (list((tmp_path / "cache").glob(f"*.{kind}")) for kind in ("rgb8", "json"))
    for spoil_it in (lambda: os.truncate(pixels, 1000), lambda: index.write_text(""), lambda: pixels.unlink()):
        spoil_it()
        np.testing.assert_array_equal(ImageStore(paths, tmp_path / "cache")[5], expected)
    late = ImageStore(paths, tmp_path / "cache")
    pixels.unlink()
    with pytest.raises(UserError, match=r"paths\.cache: cannot read .*rgb8: No such file"):
        late[0]
