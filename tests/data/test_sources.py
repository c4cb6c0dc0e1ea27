"""Sources of training images other than folders."""

from pathlib import Path

import numpy as np
import pytest

from sr_lightning.data import SRDataModule
from sr_lightning.data.images import Images
from sr_lightning.data.requirements import large_enough
from sr_lightning.data.sources import TrainingSet
from sr_lightning.errors import UserError
from sr_lightning.train import main


class ArraySource:
    """Random images in memory: what a class of one's own has to offer."""

    grouping = None

    def __init__(self, *, folder: str = ".", n: int = 3, side: int = 64):
        self.folder = Path(folder)
        self.pixels = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8)
        self.key = f"random-{n}-{side}"
        self.sizes = [(side, side)] * n
        self.paths = [Path(f"{i}") for i in range(n)]

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return self.pixels[index]

    def derived_file(self, suffix):
        return self.folder / f"{self.key}{suffix}"

    def training(self, *, patch_size, scale, on_small):
        large_enough(self.paths, self.sizes, patch_size=patch_size, scale=scale, on_small=on_small)
        return TrainingSet(Images("train", self))


def test_a_source_of_ones_own_is_trained_on(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    source = f"data.source={{_target_: {__name__}.ArraySource, folder: {tmp_path}, n: 4}}"
    settings = ["data=folder", "data.train_dir=null", f"+data.val.Mine={folder}", "data.val_holdout=0", source]
    tiny = ["model=edsr_tiny", "trainer.max_steps=2", "data.batch_size=2", "data.patch_size=12", "logger=csv"]
    assert main([*settings, *tiny, "trainer.accelerator=cpu"]) == 0


def test_its_small_images_are_judged_as_those_of_folders(folder, tmp_path):
    data = SRDataModule(source=ArraySource(side=40), val={"Mine": str(folder)}, cache_dir=str(tmp_path), patch_size=12)
    with pytest.raises(UserError, match=r"needs images of 48 .*0 \(40x40\).*data\.patch_size=10 or less, "):
        data.setup("fit")


def test_one_source_at_a_time(tmp_path):
    with pytest.raises(UserError, match="found none of them, allowed: one of them"):
        SRDataModule()
    with pytest.raises(UserError, match=r"found data\.train_dir, data\.source"):
        SRDataModule(train_dir=str(tmp_path), source=ArraySource())
