"""A small checkpoint as the Trainer writes it."""

import torch

from sr_lightning.checkpoints.lightning_io import SafeCheckpointIO


def save_checkpoint(folder, step, fill=0.0):
    state = {f"w{i}": torch.full((3, 5), fill + i) for i in range(4)}
    content = {"state_dict": state, "global_step": step, "sr_lightning": {"format": 1, "config": {"a": {"b": step}}}}
    SafeCheckpointIO().save_checkpoint(content, folder / "last.ckpt")
