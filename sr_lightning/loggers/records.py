"""Records for the loggers besides step values: config, test images, weights, earlier parts of a resumed run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from sr_lightning.evaluation.scores import (
    BICUBIC,
    ImageScore,
    MethodId,
    bicubic_scores,
    gain,
    logged_values,
    summarise,
)
from sr_lightning.evaluation.sheet import PANELS, Pixels
from sr_lightning.evaluation.summary import Evaluation
from sr_lightning.loggers.tensorboard import TensorBoard
from sr_lightning.loggers.weights_and_biases import WandbRun

_SHEET = re.compile(r"step(\d+)_(.+)\.png")
_FIGURES = ("psnr_y", "ssim_y", "bicubic_psnr_y", "bicubic_ssim_y", "gain")


def begin(loggers: Iterable[Logger], settings: dict[str, Any], best: Mapping[str, bool]) -> None:
    """Logs the config, and declares which validation metrics have a best value.

    Args:
        loggers: Loggers of the run.
        settings: The config and facts about the run, as plain data.
        best: Name -> whether higher is better.
    """
    for logger in loggers:
        if isinstance(logger, WandbRun):
            logger.define_best(best)
        if isinstance(logger, TensorBoard):
            logger.compared = tuple(best)
        log_settings(logger, settings)


def log_settings(logger: Logger, settings: dict[str, Any]) -> None:
    """Logs the config; a single scale as a number, because a list cannot be an axis of parallel coordinates."""
    scales = settings["scale"]
    logger.log_hyperparams(settings | {"scale": scales[0]} if len(scales) == 1 else settings)


def replay(loggers: Iterable[Logger], rows: Sequence[Mapping[str, str]], samples: Path) -> None:
    """Replays the earlier parts of a run into an offline W&B run, so that its newest file covers the whole run.

    W&B writes one file per part. A run resumed online needs no replay: the server has the rows. (It has those after the
    checkpoint twice, at the same steps and with the same values.)

    Args:
        loggers: Loggers of the run.
        rows: Rows of `metrics.csv`, as returned by `MetricsCsv.rows`.
        samples: Folder of the sheets saved by `callbacks.Pictures`.
    """
    for logger in loggers:
        if not rows or not isinstance(logger, WandbRun) or logger._wandb_init.get("mode") != "offline":
            continue
        sheets = _sheets(samples)
        for row in rows:
            step = int(row["step"])
            values = {name: float(text) for name, text in row.items() if name != "step" and text}
            logger.log_metrics(values, step=step)
            for key, file in sheets.pop(step, {}).items() if "val/psnr_y" in values else ():
                # Skip files that are no longer valid images.
                with suppress(OSError, Image.DecompressionBombError), Image.open(file) as image:
                    log_sheet([logger], key, np.asarray(image.convert("RGB")), step)


def _sheets(samples: Path) -> dict[int, dict[str, Path]]:
    """Returns step -> image key -> file of its sheet."""
    found: dict[int, dict[str, Path]] = {}
    for file in sorted(samples.glob("step*.png")):
        if (match := _SHEET.fullmatch(file.name)) is not None and not file.is_symlink():
            found.setdefault(int(match[1]), {})[f"samples/{match[2]}"] = file
    return found


def log_sheet(loggers: Iterable[Logger], key: str, pixels: Pixels, step: int) -> None:
    """Logs one sheet under a key that stays the same across validations, so that W&B and TensorBoard show a slider.

    Args:
        loggers: Loggers of the run.
        key: `samples/<set>_x<scale>_<image>`.
        pixels: (H, W, 3).
        step: The step.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key, [pixels], step=step, caption=["LR | bicubic | SR | HR | error"])
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(key, pixels, step, dataformats="HWC")


def log_table(
    loggers: Iterable[Logger],
    scores: Sequence[ImageScore],
    methods: Sequence[MethodId],
    images: Mapping[tuple[str, int, int], Mapping[str, Pixels]],
) -> None:
    """Logs the per-image figures to W&B as the table `test/images`, highest gain first.

    Args:
        loggers: Loggers of the run.
        scores: Scores of all methods, including bicubic.
        methods: Methods to list.
        images: `ImageScore.image` -> the `PANELS`, (H, W, 3) each, for those images of the first method that have any.
    """
    runs = [logger for logger in loggers if isinstance(logger, WandbLogger)]
    if not runs:
        return
    import wandb

    bicubic = bicubic_scores(scores)
    further = list(dict.fromkeys(name for score in scores for name in score.more))
    data: list[list[Any]] = []
    for score in (score for score in scores if score.method in methods):
        base = bicubic[score.image]
        figures = (score.psnr_y, score.ssim_y, base.psnr_y, base.ssim_y, gain(score.psnr_y, base.psnr_y))
        panels = images.get(score.image, {}) if score.method == methods[0] else {}
        shown = [wandb.Image(panels[name]) if name in panels else None for name in PANELS]
        more = [score.more.get(name) for name in further]
        data.append([score.method.label, score.set, score.scale, score.name, *figures, *more, *shown])
    data.sort(key=lambda row: row[3 + len(_FIGURES)], reverse=True)
    columns = ["method", "set", "scale", "name", *_FIGURES, *further, *PANELS]
    for run in runs:
        run.log_table("test/images", columns=columns, data=data)


def log_weights(loggers: Iterable[Logger], folder: Path, figures: Mapping[str, Any]) -> None:
    """Logs weights as a W&B model artifact, if `logger.wandb.artifacts` requests it.

    Args:
        loggers: Loggers of the run.
        folder: The run's folder.
        figures: Metadata of the artifact.
    """
    wanted = {"best": ["checkpoints/best.ckpt"]}
    wanted["all"] = [*wanted["best"], "checkpoints/last.ckpt", ".hydra/config.yaml"]
    for logger in (logger for logger in loggers if isinstance(logger, WandbRun)):
        files = [name for name in wanted.get(logger.artifacts, []) if (folder / name).is_file()]
        if not files:
            continue
        import wandb

        artifact = wandb.Artifact(f"model-{logger.version}", type="model", metadata=dict(figures))
        for name in files:
            artifact.add_file(str(folder / name), name=Path(name).name)
        logger.experiment.log_artifact(artifact, aliases=["best"])


def log_comparison(
    loggers: Iterable[Logger],
    folder: Path,
    names: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
) -> None:
    """Logs the files of a comparison as a W&B artifact, and its figures as the table `compare/runs`.

    Args:
        loggers: Loggers of the comparison.
        folder: Folder of the files.
        names: File names relative to the folder.
        columns: Columns of the table.
        rows: One row per run and set.
    """
    import wandb

    for logger in (logger for logger in loggers if isinstance(logger, WandbRun)):
        artifact = wandb.Artifact(f"comparison-{logger.version}", type="comparison")
        for name in names:
            artifact.add_file(str(folder / name), name=name)
        logger.experiment.log_artifact(artifact)
        # A column may mix numbers and names, as for a setting that is off in some runs.
        table = wandb.Table(
            columns=list(columns), data=[[_figure(cell) for cell in row] for row in rows], allow_mixed_types=True
        )
        logger.experiment.log({"compare/runs": table})


def _figure(cell: Any) -> Any:
    """Converts numeric text, which W&B could not plot, to numbers, and empty text to None."""
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None if cell == "" else cell


def log_evaluation(loggers: Iterable[Logger], evaluation: Evaluation, settings: dict[str, Any]) -> None:
    """Logs for the first method what training logs for its final test, and tables of all methods and images.

    Args:
        loggers: Loggers of the run.
        evaluation: The complete evaluation.
        settings: The config and facts about the run, as plain data.
    """
    loggers = list(loggers)
    methods = [method.id for method in evaluation.methods] or [BICUBIC]
    rows = [row for row in summarise(evaluation.scores) if row.method in (BICUBIC, methods[0])]
    figures = logged_values(rows, "test")
    figures |= {f"test/{row.set}/x{row.scale}/gain": row.gain for row in rows if row.method != BICUBIC}
    for logger in loggers:
        log_settings(logger, settings)
        logger.log_metrics(figures, step=0)
    names = ("method", "set", "scale", "psnr_y", "ssim_y", "gain", "params", "multiply_adds")
    own = [line for line in evaluation.table_rows if line.kind != "published"]
    columns = [*names, *evaluation.metrics]
    data = [[getattr(line, name) for name in names] + [line.more[name] for name in evaluation.metrics] for line in own]
    for run in (logger for logger in loggers if isinstance(logger, WandbLogger)):
        run.log_table("test/sets", columns=columns, data=data)
    log_table(loggers, evaluation.scores, methods, evaluation.panels)
