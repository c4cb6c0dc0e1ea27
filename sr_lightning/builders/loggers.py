"""Construction of a run's loggers, and of the functions that log an evaluation or a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_lightning.builders.components import build_parts
from sr_lightning.config.schema import EvaluateConfig, TrainConfig
from sr_lightning.config.wandb_check import LONGEST_TAG
from sr_lightning.evaluation.method import training_sets
from sr_lightning.evaluation.summary import Evaluation
from sr_lightning.runs.environment import environment
from sr_lightning.runs.run import Run

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger


def build_loggers(sections: dict[str, dict[str, Any]], run: Run, *, job_type: str, tags: list[str]) -> list[Logger]:
    """Builds the loggers of a config, with defaults for the group, job type, tags and notes of a W&B run.

    Args:
        sections: The section `logger`.
        run: The run.
        job_type: The kind of run.
        tags: Tags; see `run_tags`.
    """
    from lightning.pytorch.loggers import Logger

    step = run.resume.step if run.resume else None
    return build_parts(
        sections,
        "logger",
        Logger,
        folder=str(run.folder.absolute()),
        group=run.group,
        purge_step=None if step is None else step + 1,
        job_type=job_type,
        tags=tags,
        notes=run.command,
    )


def run_tags(network: str, config: TrainConfig) -> list[str]:
    """Returns the tags of a training run: scales, network, training folders, and `gan` if it has a discriminator."""
    names = [f"x{scale}" for scale in config.scale] + [network, *training_sets(asdict(config))]
    return _tags(names + (["gan"] if config.adversarial is not None else []))


def build_evaluation_log(config: EvaluateConfig, run: Run, *, rank: int) -> Callable[[Evaluation, float], None]:
    """Returns a function that logs an evaluation and its minutes; without a logger a no-op that needs no lightning.

    Args:
        config: The checked config.
        run: The run.
        rank: Rank of this process; only the first logs.

    Raises:
        UserError: A logger cannot be built, or W&B cannot be reached; raised before the evaluation starts.
    """
    if not config.logger or rank > 0:
        return lambda evaluation, minutes: None
    from lightning.pytorch.loggers import Logger

    # Group, tags and job type are set after the evaluation, but whether the loggers can be built is tested before.
    build_parts(config.logger, "logger", Logger, folder=str(run.folder.absolute()))

    def log(evaluation: Evaluation, minutes: float) -> None:
        from sr_lightning.loggers.records import log_evaluation
        from sr_lightning.loggers.weights_and_biases import finish_wandb

        first = evaluation.methods[0] if evaluation.methods else None
        scales = sorted({score.scale for score in evaluation.scores})
        tags = _tags([*(f"x{scale}" for scale in scales), *(method.label for method in evaluation.methods)])
        loggers = build_loggers(config.logger, run, job_type="evaluate", tags=tags)
        adds = {scale: cost.multiply_adds for (_, scale), cost in evaluation.costs.items()}
        facts = {
            "network": first.label if first else "bicubic",
            "parameters": first.params if first else 0,
            "multiply_adds": next(iter(adds.values()), None),
            "train_data": first.trained_on if first else "",
            "hardware": evaluation.settings["hardware"],
        }
        settings = asdict(config) | {"scale": scales, "run": environment(run.command) | facts | {"minutes": minutes}}
        exit_code = 1
        try:
            log_evaluation(loggers, evaluation, settings)
            exit_code = 1 if evaluation.refusals else 0
        finally:
            finish_wandb(exit_code=exit_code)

    return log


def build_comparison_log(
    sections: dict[str, dict[str, Any]], folder: Path, command: str
) -> Callable[[Sequence[str], Sequence[str], Sequence[Sequence[Any]]], None]:
    """Returns a function that logs the files of a comparison, and its results as columns and rows.

    Args:
        sections: The section `logger`.
        folder: The comparison's folder.
        command: The command line.

    Raises:
        UserError: A logger cannot be built, or W&B cannot be reached; raised before the images are made.
    """
    folder = folder.absolute()  # W&B's service may be older than this call, with another working folder
    group = folder.parent.name if folder.name == "compare" else None  # the sweep that contains it
    loggers = build_loggers(sections, Run(folder, command, group), job_type="compare", tags=[])

    def log(names: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        from sr_lightning.loggers.records import log_comparison
        from sr_lightning.loggers.weights_and_biases import finish_wandb

        exit_code = 1
        try:
            log_comparison(loggers, folder, names, columns, rows)
            exit_code = 0
        finally:
            finish_wandb(exit_code=exit_code)

    return log


def _tags(names: list[str]) -> list[str]:
    return list(dict.fromkeys(name[:LONGEST_TAG] for name in names if name))
