"""Hints printed when a training run stops or ends: how to resume it, where its files are, what to try next."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Any

from sr_lightning.config.overrides import as_typed_value, model_override
from sr_lightning.config.schema import TrainConfig
from sr_lightning.runs.run import Run
from sr_lightning.runs.saved_config import own_targets, required_overrides
from sr_lightning.text import shell_lines, shown


def resume_command(run: Run, config: dict[str, Any]) -> str:
    """Returns the command line that resumes a run.

    Args:
        run: The run.
        config: The run's resolved config as plain data.
    """
    if run.group is not None:
        return f"the same command and hydra.sweep.dir={shown(run.folder.parent)}"
    given = [_typed("ckpt_path", shown(run.folder)), *map(shlex.quote, required_overrides(config))]
    return " ".join(["python -m sr_lightning.train", *given])


def print_next_steps(run: Run, config: TrainConfig) -> None:
    """Prints the location of a finished run's files, and commands to try next."""
    folder = shown(run.folder)
    print(f"\nrun folder  {folder}")
    print("figures     metrics.csv, results.json, per_image.csv in it")
    print(f"pictures    {folder}/samples/")
    print(f"weights     {folder}/checkpoints/best.ckpt")
    if (config.logger.get("wandb") or {}).get("mode") == "offline":
        print(f"W&B         look: wandb leet {folder}/wandb/latest-run")
        print(f"            send: wandb sync {folder}/wandb/latest-run")
    if run.group is None:
        checkpoint = " ".join([_typed("checkpoint", folder), *_own_network(config)])
        longer = f"trainer.max_steps={2 * config.trainer['max_steps']}"
        print("\nnext, for instance")
        for command in (
            f"python -m sr_lightning.upscale input=photo.jpg {checkpoint}",
            " ".join(["python -m sr_lightning.evaluate", checkpoint, *_test_sets(config)]),
            "python -m sr_lightning.compare " + _typed("runs", folder),
            f"{resume_command(run, asdict(config))} {longer}",
        ):
            print("\n".join(shell_lines(command)))


def _own_network(config: TrainConfig) -> list[str]:
    """Returns the override that names a network of the user's own, which no command builds because a file names it."""
    typed = None if config.model["_target_"] in own_targets() else model_override(config.model)
    return [] if typed is None else [shlex.quote(typed)]


def _test_sets(config: TrainConfig) -> list[str]:
    """Returns overrides that let `evaluate` use the sets that the run was tested on."""
    root = f"{config.paths.data}/test"
    sets = config.data.get("test") or {}
    if not sets or list(sets) == ["sample_test"]:
        return ["data=sample"]
    entries = {name: entry if isinstance(entry, dict) else {"hr": entry} for name, entry in sets.items()}
    others = {name: entry for name, entry in entries.items() if entry != {"hr": f"{root}/{name}"}}
    typed = [
        _typed(f"++data.test.{name}", entry["hr"] if list(entry) == ["hr"] else as_typed_value(entry))
        for name, entry in others.items()
    ]
    return [_typed("sets", as_typed_value(list(sets))), *typed]


def _typed(key: str, value: object) -> str:
    """Quotes an override for the shell."""
    return shlex.quote(f"{key}={value}")
