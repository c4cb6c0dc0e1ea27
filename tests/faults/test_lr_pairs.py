"""LR images that do not belong to their HR are refused at the start, by name (D19)."""

import numpy as np
import pytest
from PIL import Image

from helpers.faulty_images import NOISE, setup
from sr_lightning.errors import UserError


@pytest.fixture
def pairs(folder, tmp_path):
    (tmp_path / "LR").mkdir()
    for path in folder.iterdir():
        with Image.open(path) as hr:
            hr.resize((hr.width // 4, hr.height // 4)).save(tmp_path / "LR" / path.name)
    return tmp_path / "LR"


@pytest.mark.parametrize("kind", ["missing", "extra", "one_pixel_off", "swapped"])
@pytest.mark.fault("D19", "refused at the start, by name")
def test_D19_lr_that_does_not_belong(folder, tmp_path, pairs, kind):
    if kind == "missing":
        (pairs / "img_2.png").unlink()
        said = r"img_2\.png: expected one LR file .* found none"
    elif kind == "extra":
        Image.fromarray(NOISE).save(pairs / "other.png")
        said = r"no HR image belongs to other\.png"
    elif kind == "one_pixel_off":
        Image.new("RGB", (27, 24)).save(pairs / "img_0.png")
        said = r"img_0\.png: is 27x24, but .*img_0\.png is 112x96, which at x4 needs 28x24"
    else:
        (pairs / "img_0.png").rename(pairs / "x")
        (pairs / "img_1.png").rename(pairs / "img_0.png")
        (pairs / "x").rename(pairs / "img_1.png")
        said = r"img_0\.png: is 24x25, but .*img_0\.png is 112x96"
    with pytest.raises(UserError, match=said):
        setup(folder, tmp_path, train_lr_dir=str(pairs), patch_size=6, val_holdout=0)


@pytest.fixture
def alike(tmp_path):
    """HR and LR of four different photographs of one size."""
    from skimage import data as photographs

    for place in ("HR", "LR"):
        (tmp_path / place).mkdir()
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        hr = Image.fromarray(getattr(photographs, name)()).resize((128, 96))
        hr.save(tmp_path / "HR" / f"{name}.png")
        hr.resize((32, 24), Image.Resampling.BICUBIC).save(tmp_path / "LR" / f"{name}.png")
    return tmp_path / "HR", tmp_path / "LR"


def swap(folder, one, other):
    (folder / one).rename(folder / "x")
    (folder / other).rename(folder / one)
    (folder / "x").rename(folder / other)


@pytest.mark.fault("D19", "refused at the start: sizes fit, contents do not")
@pytest.mark.parametrize("where", ["train", "val", "test"])
def test_D19_names_swapped_among_images_of_one_size(folder, tmp_path, alike, where):
    hr, lr = alike
    pair = {"hr": str(hr), "lr": str(lr)}
    settings = {where: {"Mine": pair}} if where != "train" else {"train_dir": str(hr), "train_lr_dir": str(lr)}
    settings |= {"patch_size": 6, "val_holdout": 0}
    setup(folder, tmp_path, **settings)
    swap(lr, "chelsea.png", "rocket.png")
    for _ in range(2):  # at every start
        with pytest.raises(
            UserError, match=r"LR/chelsea\.png: shows .*HR/rocket\.png, but .*\n.*LR/rocket\.png: shows"
        ):
            setup(folder, tmp_path, **settings)


@pytest.mark.fault("D19", "a strong degradation is no swap")
def test_D19_lr_that_is_unlike_its_hr(folder, tmp_path, alike):
    hr, lr = alike
    for i, path in enumerate(sorted(lr.iterdir())):
        levels = np.asarray(Image.open(path)).astype(float) * 0.6 + np.random.default_rng(i).normal(20, 25, (24, 32, 3))
        Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(path)
    setup(folder, tmp_path, train_dir=str(hr), train_lr_dir=str(lr), patch_size=6, val_holdout=0)
    for path in lr.iterdir():  # and where nothing is to be seen
        Image.new("RGB", (32, 24), (90, 90, 90)).save(path)
    setup(folder, tmp_path, train_dir=str(hr), train_lr_dir=str(lr), patch_size=6, val_holdout=0)
