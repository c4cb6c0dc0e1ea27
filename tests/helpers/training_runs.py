"""What a run of `train` has written."""

import csv
from pathlib import Path

import torch


def only_run(kind="train"):
    (path,) = Path("runs", kind).iterdir()
    return path


def metrics(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def weights(run, name="last"):
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
