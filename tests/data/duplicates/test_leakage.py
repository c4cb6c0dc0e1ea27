"""Training warns when it is given what it will be tested on."""

import logging
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from helpers.images import SKIMAGE, save_photographs
from sr_lightning.config.conf_files import conf_dir
from sr_lightning.data import SRDataModule
from sr_lightning.data.cache.store import ImageStore
from sr_lightning.data.duplicates import stored_hashes


@pytest.fixture
def photographs(tmp_path):
    """Training and test folders of different photographs."""
    return save_photographs(tmp_path / "train", tmp_path / "test", (160, 120))


def warnings(caplog, trained, tested, **settings):
    caplog.clear()
    arguments = {"train_dir": str(trained), "cache_dir": "cache", "patch_size": 12}
    arguments |= {"val": {"Val": str(tested)}, "test": {"Mine": str(tested)}}
    with caplog.at_level(logging.WARNING):
        SRDataModule(**(arguments | settings)).setup("fit")
    return [record.getMessage() for record in caplog.records]


def test_other_images_give_no_warning(photographs, caplog):
    assert warnings(caplog, *photographs) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda image: image, "the same pixels"),
        (lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM), "mirrored top-bottom, re-encoded"),
        (lambda image: image.transpose(Image.Transpose.ROTATE_90), "a quarter turn, re-encoded"),
        (lambda image: image.resize((240, 180)), "resized"),
    ],
)
@pytest.mark.fault("D21", "a warning names both")
def test_a_planted_image_is_named_once(photographs, caplog, change, said):
    train, test = photographs
    change(Image.open(test / "astronaut.png")).save(train / "planted.png")
    first, second = warnings(caplog, train, test)  # once for the test set, once for the validation set
    assert f"{train}/planted.png is astronaut.png ({said})" in first
    assert "Mine holds 1 of the training images" in first
    assert "Val holds 1 of the training images" in second


@pytest.mark.fault("D21", "a warning names both")
def test_a_jpeg_of_a_test_image_is_named(photographs, caplog):
    train, test = photographs
    Image.open(test / "chelsea.png").save(train / "planted.jpg", quality=75)
    assert "planted.jpg is chelsea.png (re-encoded)" in warnings(caplog, train, test)[0]


def test_an_image_of_the_same_name_is_not_named_by_itself(photographs, caplog):
    train, test = photographs
    Image.open(test / "chelsea.png").save(train / "chelsea.png")
    assert f"{train}/chelsea.png (the same pixels)" in warnings(caplog, train, test)[0]


def test_a_set_that_is_validated_and_tested_on_is_told_once(photographs, caplog):
    train, test = photographs
    Image.open(test / "chelsea.png").save(train / "planted.png")
    assert len(warnings(caplog, train, test, test=None)) == 1


def test_held_out_images_are_no_leak(photographs, caplog):
    train, _ = photographs
    assert warnings(caplog, train, train, val=None, val_holdout=1, test=None) == []


def test_hashes_are_computed_once_for_the_same_content(photographs, caplog, monkeypatch):
    warnings(caplog, *photographs)
    monkeypatch.setattr(stored_hashes, "image_hashes", None)  # whoever calls it fails
    assert warnings(caplog, *photographs) == []
    train, test = photographs
    renamed = train.rename(train.with_name("renamed"))
    assert warnings(caplog, renamed, test) == []


def test_what_is_kept_is_what_another_decoder_gives(photographs):
    train, _ = photographs
    paths = sorted(train.iterdir())
    store = ImageStore(paths, "cache")
    fresh, kept = stored_hashes.stored_hashes(store, orientations=8), stored_hashes.stored_hashes(store, orientations=8)
    assert fresh.pixels == kept.pixels
    np.testing.assert_array_equal(fresh.bits, kept.bits)
    assert fresh.bits.shape == (3, 8, 256)


def test_the_default_data_gives_no_warning(caplog):
    sample = OmegaConf.load(Path(conf_dir(), "data/sample.yaml"))
    val = {"sample_val": {"hr": str(SKIMAGE), "files": list(sample.val.sample_val.files)}}
    test = {"sample_test": {"hr": str(SKIMAGE), "files": list(sample.test.sample_test.files)}}
    names = list(sample.train_files)
    assert (len(names), len(val["sample_val"]["files"]), len(test["sample_test"]["files"])) == (10, 1, 2)
    assert warnings(caplog, SKIMAGE, SKIMAGE, train_files=names, val=val, test=test) == []


def test_the_classic_training_set_holds_an_image_of_set5(sr_data, caplog):
    (said,) = warnings(
        caplog,
        sr_data / "train/BSD200",
        sr_data / "test/Set5",
        train_files=["302003.jpg", "100075.jpg"],
        val={"Set14": str(sr_data / "test/Set14")},
    )
    assert "302003.jpg is img_005.png (resized)" in said
