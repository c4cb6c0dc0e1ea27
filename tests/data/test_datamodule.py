"""The sets of the DataModule: folders, pairs, held-out and excluded images; and other data when a run goes on."""

import itertools
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.data_modules import batches, module
from sr_lightning.errors import UserError
from sr_lightning.image.resize import resize


def test_copies_that_an_older_version_rounded_once_are_had_again(folder, tmp_path):
    """Its run had no other name for them than bicubic: the refusal names the way on."""
    settings = {"scale": 2, "patch_size": 8, "shrink": [0.8]}
    state = module(folder, tmp_path, kernel="bicubic_double", **settings).state_dict()
    present = module(folder, tmp_path, **settings)
    present.load_state_dict(state)
    with pytest.raises(UserError, match=r"data\.kernel=bicubic_double allow_change=\[data\.kernel\]"):
        present.train_dataloader()
    again = module(folder, tmp_path, kernel="bicubic_double", **settings)
    again.load_state_dict(state)
    assert again.train_dataloader() is not None
    plain = module(folder, tmp_path, scale=2, patch_size=8)
    plain.load_state_dict(state)
    with pytest.raises(UserError, match="have changed since") as caught:
        plain.train_dataloader()
    assert "bicubic_double" not in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"patch_size": 10}, {"augment": False}, {"permute_channels": True}, {"kernel": "bilinear"}]
)
@pytest.mark.fault("T13", "refused")
def test_other_data_than_the_checkpoints_is_refused(folder, tmp_path, change):
    state = module(folder, tmp_path).state_dict()
    other = module(folder, tmp_path, **change)
    other.load_state_dict(state)
    with pytest.raises(UserError, match="have changed since the checkpoint"):
        other.train_dataloader()


OLD_FINGERPRINT = "31e998ee15666b4d35f1aae0d41093b0"  # of the version that rounded once, for two grey images


def test_a_run_from_when_bicubic_was_rounded_once_goes_on_with_it(tmp_path, folder, caplog):
    grey = tmp_path / "grey"
    grey.mkdir()
    for i in range(2):
        Image.fromarray(np.full((60, 70, 3), 50 * i, np.uint8)).save(grey / f"{i}.png")
    settings = {"val": {"Mine": str(folder)}, "val_holdout": 0}
    data = module(grey, tmp_path, **settings)
    assert data.fingerprint() != OLD_FINGERPRINT
    data.load_state_dict({"k": 8, "fingerprint": OLD_FINGERPRINT})
    data.train_dataloader()  # not refused
    assert data.degrade.describe() == "matlab_bicubic_double"
    assert "data.kernel=bicubic_double" in caplog.text
    assert (  # so does the next one
        data.state_dict().items() >= {"k": 8, "fingerprint": OLD_FINGERPRINT}.items()
    )  # and so does its next continuation
    assert module(grey, tmp_path, kernel="bicubic_double", **settings).fingerprint() == OLD_FINGERPRINT


def test_held_out_images_are_not_trained_on(folder, tmp_path):
    data = module(folder, tmp_path)
    trained = {path.name for path in data.train_images.hr.paths}
    held = {path.name for path in data.val_sets[0].hr.paths}
    assert len(held) == 2
    assert not trained & held
    assert len(trained | held) == 6
    assert data.test_sets is not None
    assert [s.name for s in data.test_sets] == ["heldout"]


def test_whole_images_and_centre_crops(folder, tmp_path):
    data = module(folder, tmp_path, scale=[3, 4], val={"Mine": str(folder)}, val_crop=50, test={"Mine": str(folder)})
    tested = [data.on_after_batch_transfer(p, 0) for p in data.test_dataloader()]
    assert [(b.scale, b.name) for b in tested] == [(s, f"img_{i}.png") for s in (3, 4) for i in range(6)]
    image = np.asarray(Image.open(folder / "img_1.png"))[:99, :96]  # 101 x 97 cropped to a multiple of 3
    assert torch.equal(tested[1].hr, torch.from_numpy(image.transpose(2, 0, 1).copy())[None])
    assert torch.equal(tested[1].lr * 255, resize(tested[1].hr, 1 / 3).float())
    validated = [data.on_after_batch_transfer(p, 0) for p in data.val_dataloader()]
    assert validated[6].hr.shape == (1, 3, 48, 48)
    centre = np.asarray(Image.open(folder / "img_0.png"))[24:72, 32:80]  # (96, 112) around its middle
    assert torch.equal(validated[6].hr, torch.from_numpy(centre.transpose(2, 0, 1).copy())[None])


@pytest.fixture
def pairs(folder, tmp_path):
    """Ready-made LR images that no kernel of ours makes, named as DIV2K's."""
    for scale in (2, 4):
        (tmp_path / f"X{scale}").mkdir()
        for path in folder.iterdir():
            image = Image.open(path)
            image = image.resize((image.width // scale, image.height // scale), Image.Resampling.HAMMING)
            image.save(tmp_path / f"X{scale}" / f"{path.stem}x{scale}.png")
    return str(tmp_path / "X{scale}")


def test_ready_made_pairs_take_the_same_windows(folder, tmp_path, pairs):
    data = module(folder, tmp_path, scale=[2, 4], train_lr_dir=pairs, augment=False, val_holdout=0)
    plan = next(iter(data.train_dataloader().dataset.plan for _ in range(1)))
    k = 0
    for batch in batches(data, 4):
        for lr, hr in zip(batch.lr, batch.hr, strict=True):
            crop, s = plan.crop(k, batch.scale), batch.scale
            whole = np.asarray(Image.open(tmp_path / f"X{s}" / f"img_{crop.image}x{s}.png"))
            cut = whole[crop.top : crop.top + 12, crop.left : crop.left + 12]
            assert torch.equal(lr * 255, torch.from_numpy(cut.transpose(2, 0, 1).copy()).float())
            whole = np.asarray(Image.open(folder / f"img_{crop.image}.png"))
            cut = whole[crop.top * s : (crop.top + 12) * s, crop.left * s : (crop.left + 12) * s]
            assert torch.equal(hr * 255, torch.from_numpy(cut.transpose(2, 0, 1).copy()).float())
            k += 1


@pytest.mark.fault("D19", "refused at the start, all by name")
def test_every_pair_whose_sizes_do_not_fit_is_named(folder, tmp_path, pairs, image):
    for i in (0, 3, 4):
        Image.fromarray(image(20, 20, 0)).save(tmp_path / "X4" / f"img_{i}x4.png")
    with pytest.raises(UserError, match=r"img_3x4\.png: is 20x20, but .*img_3\.png is 130x99.* needs 32x24") as caught:
        module(folder, tmp_path, train_lr_dir=pairs)
    assert all(f"img_{i}x4.png: is 20x20" in str(caught.value) for i in (0, 3, 4))


def test_pairs_for_a_test_set(folder, tmp_path, pairs):
    data = module(folder, tmp_path, test={"Mine": {"hr": str(folder), "lr": pairs}})
    first = data.on_after_batch_transfer(next(iter(data.test_dataloader())), 0)
    whole = np.asarray(Image.open(tmp_path / "X4" / "img_0x4.png"))
    assert torch.equal(first.lr * 255, torch.from_numpy(whole.transpose(2, 0, 1).copy())[None].float())


@pytest.mark.fault("D5", "refused, left out or mirrored, as asked")
def test_images_smaller_than_the_patch(folder, tmp_path, image, caplog):
    Image.fromarray(image(40, 200, 0)).save(folder / "flat.png")
    with pytest.raises(UserError, match=r"needs images of 48.*flat\.png \(200x40\).*data\.patch_size=10 or less"):
        module(folder, tmp_path, val_holdout=0)
    with caplog.at_level(logging.WARNING):
        data = module(folder, tmp_path, val_holdout=0, on_small="skip")
    assert "flat.png" in caplog.text
    assert len(data.train_images.hr) == 6
    assert len(module(folder, tmp_path, val_holdout=0, on_small="mirror").train_images.hr) == 7
    with pytest.raises(UserError, match="needs images of"):
        module(folder, tmp_path, patch_size=1000, on_small="skip")
    Image.fromarray(image(3, 200, 0)).save(folder / "line.png")
    with pytest.raises(UserError, match=r"line\.png \(200x3\)\. Allowed: data\.on_small=skip"):  # no patch fits into it
        module(folder, tmp_path, val_holdout=0)


def test_sets_that_cannot_be_used_are_refused(folder, tmp_path, image):
    with pytest.raises(UserError, match=r"data\.val_holdout: found 6, but data\.train_dir holds 6"):
        module(folder, tmp_path, val_holdout=6)
    (tmp_path / "tiny").mkdir()
    Image.fromarray(image(16, 90, 0)).save(tmp_path / "tiny" / "a.png")
    with pytest.raises(UserError, match=r"data\.test\.Tiny: .*a\.png: 16 pixels are too few at x4"):
        module(folder, tmp_path, test={"Tiny": str(tmp_path / "tiny")})
    with pytest.raises(UserError, match=r"found 1 folders for 2 in data\.train_dir"):
        module(folder, tmp_path, train_dir=[str(folder), str(folder)], train_lr_dir=[str(folder)])


def test_several_folders_and_chosen_files(folder, tmp_path, image):
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(image(96, 96, 50)).save(other / "b.png")
    data = module(folder, tmp_path, train_dir=[str(folder), str(other)], val_holdout=0)
    assert [path.name for path in data.train_images.hr.paths] == [*(f"img_{i}.png" for i in range(6)), "b.png"]
    data = module(folder, tmp_path, train_files=["img_4.png", "img_0.png"], val_holdout=0)
    assert [path.name for path in data.train_images.hr.paths] == ["img_0.png", "img_4.png"]
    both = {"train_dir": [str(folder), str(other)], "val_holdout": 0}
    data = module(folder, tmp_path, exclude_files=["b.png", "img_3.png", "img_0.png"], **both)
    assert [path.name for path in data.train_images.hr.paths] == [f"img_{i}.png" for i in (1, 2, 4, 5)]
    with pytest.raises(UserError, match=r"data\.exclude_files: img_9\.png: found among no images of data\.train_dir"):
        module(folder, tmp_path, exclude_files=["img_3.png", "img_9.png"], **both)
    (other / "link.png").symlink_to(folder / "img_1.png")  # however the file is named, and wherever it lies once more
    for name in ("./img_1.png", f"../{folder.name}//img_1.png", str(folder / "img_1.png"), "link.png"):
        data = module(folder, tmp_path, exclude_files=[name], **both)
        assert [path.name for path in data.train_images.hr.paths] == [
            *(f"img_{i}.png" for i in (0, 2, 3, 4, 5)),
            "b.png",
        ]
    with pytest.raises(UserError, match=r"data\.exclude_files: leaves no image"):
        module(folder, tmp_path, exclude_files=[f"img_{i}.png" for i in range(6)], val_holdout=0)


def test_an_excluded_image_takes_its_ready_made_lr_along(folder, tmp_path, pairs):
    data = module(folder, tmp_path, scale=[2, 4], train_lr_dir=pairs, exclude_files=["img_2.png"], val_holdout=0)
    for images in (data.train_images.hr, *data.train_images.lr.values()):
        assert [path.name[:5] for path in images.paths] == [f"img_{i}" for i in (0, 1, 3, 4, 5)]


def test_the_sample_split_keeps_scenes_apart():
    """Of the photographs in the wheel none is on two sides, and the stereo pair is on one."""
    from pathlib import Path

    import yaml

    from sr_lightning.config.conf_files import conf_dir

    content = yaml.safe_load(Path(conf_dir(), "data", "sample.yaml").read_text())
    sides = [set(content["train_files"]), set(content["val"]["sample_val"]["files"])]
    sides.append(set(content["test"]["sample_test"]["files"]))
    for a, b in itertools.combinations(sides, 2):
        assert not a & b
    assert sum({"motorcycle_left.png", "motorcycle_right.png"} <= side for side in sides) == 1
