"""A small DataModule without a Trainer, and its batches."""

import itertools

import torch

from helpers.stub_trainer import stub_trainer
from sr_lightning.data import SRDataModule


def module(folder, tmp_path, *, world_size=1, rank=0, accumulate=1, **settings):
    defaults = {"train_dir": str(folder), "scale": 4, "seed": 3, "cache_dir": str(tmp_path / "cache")}
    defaults |= {"batch_size": 4, "patch_size": 12, "val_holdout": 2}
    data = SRDataModule(**(defaults | settings))
    data.trainer = stub_trainer(rank=rank, world_size=world_size, accumulate=accumulate)
    data.setup("fit")
    return data


def batches(data, n):
    found = []
    for windows in itertools.islice(data.train_dataloader(), n):
        found.append(data.on_after_batch_transfer(windows, 0))
    return found


def same(a, b):
    return a.scale == b.scale and torch.equal(a.lr, b.lr) and torch.equal(a.hr, b.hr)
