"""Hints printed when a training run stops or ends: how to resume it, where its files lie, what to try next."""

from __future__ import annotations

from typing import Any

from sr_lightning.config.schema import TrainConfig
from sr_lightning.runs.run import Run
from sr_lightning.runs.saved_config import required_overrides
from sr_lightning.text import shown


def resume_command(run: Run, config: dict[str, Any]) -> str:
    """The command line that resumes a run.

    Args:
        run: The run.
        config: Its resolved config as plain data.
    """
    if run.group is not None:
        return f"the same command and hydra.sweep.dir={shown(run.folder.parent)}"
    return " ".join([f"python -m sr_lightning.train ckpt_path={shown(run.folder)}", *required_overrides(config)])


def print_next_steps(run: Run, config: TrainConfig) -> None:
    """Prints where the files of a finished run lie, and commands to try next."""
    folder = shown(run.folder)
    print(f"\nrun folder  {folder}   (metrics.csv, results.json, per_image.csv)")
    print(f"pictures    {folder}/samples/")
    print(f"weights     {folder}/checkpoints/best.ckpt")
    if (config.logger.get("wandb") or {}).get("mode") == "offline":
        print(f"W&B         look: wandb leet {folder}/wandb/latest-run")
        print(f"            send: wandb sync {folder}/wandb/offline-run-*")
    if run.group is None:
        print("\nnext, for instance")
        print(f"  python -m sr_lightning.compare runs={folder}")
        print("  python -m sr_lightning.train scale=2")
        print("  python -m sr_lightning.train loss.beta=0.01")
        print("  python -m sr_lightning.train -m scale=2,3,4 loss.beta=0,0.01")
