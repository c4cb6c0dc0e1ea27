"""Final test of a training run: the best weights on the test (or validation) sets, as files and as a table."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from rich.console import Console

from sr_lightning.callbacks import Checkpoints, Elapsed, Pictures
from sr_lightning.checkpoints.integrity import BEST
from sr_lightning.checkpoints.weights import load_weights
from sr_lightning.data import SRDataModule
from sr_lightning.data.degradations.base import lr_protocol
from sr_lightning.evaluation.results import write_results
from sr_lightning.evaluation.scores import BICUBIC, logged_values, summarise
from sr_lightning.evaluation.tables import FURTHER, TITLE, TRAINING, Record, records, terminal
from sr_lightning.files import sha256
from sr_lightning.inference.cost import multiply_adds_on_paper
from sr_lightning.loggers.records import log_table, log_weights
from sr_lightning.text import LOG_ONLY, printable
from sr_lightning.training.module import SRModule

log = logging.getLogger(__name__)


def final_test(
    trainer: pl.Trainer, module: SRModule, data: SRDataModule, folder: Path, *, info: dict[str, Any]
) -> float:
    """Tests the best weights, writes the results to the run's folder and prints a table.

    Args:
        trainer: The trainer that has trained the module.
        module: The module, into which the best weights are loaded.
        data: The test sets.
        folder: The run's folder.
        info: Records of the run, as returned by `runs.environment.describe`.

    Returns:
        The objective; see `objective`.
    """
    reached = objective(trainer, module)
    best = folder / "checkpoints" / BEST
    if best.is_file():
        load_weights(module.net, best)
    trainer.test(module, datamodule=data, verbose=False)
    scores = module.results
    rows = summarise(scores)
    gains = {f"test/{row.set}/x{row.scale}/gain": row.gain for row in rows if row.method != BICUBIC}
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    minutes = next(callback.seconds for callback in callbacks if isinstance(callback, Elapsed)) / 60
    figures = logged_values(rows, "test") | gains | {"time/minutes": minutes}
    for logger in trainer.loggers:
        logger.log_metrics(figures, step=trainer.global_step)
    if not trainer.is_global_zero:
        return reached
    tested = {"checkpoint": "checkpoints/best.ckpt", "checkpoint_sha256": sha256(best)} if best.is_file() else {}
    facts = {module.method: {"checkpoint": None, **tested, "params": info["parameters"]}}
    pictures = next((callback for callback in callbacks if isinstance(callback, Pictures)), None)
    log_table(trainer.loggers, scores, [module.method], pictures.panels if pictures else {})
    log_weights(trainer.loggers, folder, figures)
    # Last, as it marks the run as finished.
    write_results(
        folder,
        scores,
        facts=facts,
        protocol=lr_protocol(data.degrade),
        metrics=module.metrics,
        costs={
            (module.method, s): {"multiply_adds": multiply_adds_on_paper(module.net, s)}
            for s in {r.scale for r in rows}
        },
        extra={"objective": reached, "steps": trainer.global_step, "minutes": minutes, "run": info}
        | {"training_pictures_left_out": data.left_out}
        | {"split": "test" if data.has_test_sets else "validation"},
    )
    title = TITLE if data.has_test_sets else f"Validation images, which chose the checkpoint (no data.test)\n{TITLE}"
    lines = [printable(row.exactness) for row in rows if row.exactness]
    lines.append(f"{trainer.global_step} steps in {minutes:.1f} min on {info['hardware']}")
    _print_tables(records(rows, facts), list(module.metrics), title, lines)
    return reached


def _print_tables(rows: Sequence[Record], metrics: Sequence[str], title: str, lines: Sequence[str]) -> None:
    """Prints the tables, with that of the further metrics if there are any, and the lines below them; logs them too."""
    tables = [terminal(rows, TRAINING, title=title)]
    tables += [terminal(rows, metrics, title=FURTHER)] if metrics else []
    Console().print(*tables, sep="\n")
    print("\n".join(lines))
    for_log = Console(file=io.StringIO(), width=160)
    for_log.print(*tables, sep="\n")
    log.info("%s", "\n".join(["", for_log.file.getvalue(), *lines]), extra=LOG_ONLY)  # type: ignore[attr-defined]  # StringIO


def objective(trainer: pl.Trainer, module: SRModule) -> float:
    """Gain over bicubic (dB) at the best validation, or at the last one if `best` monitors another value.

    Bicubic's PSNR is the same at every validation. NaN if nothing has been validated.
    """
    if module.validation is None:
        return float("nan")
    kept = next((c for c in trainer.callbacks if isinstance(c, Checkpoints)), None)  # type: ignore[attr-defined]  # set by a connector
    is_psnr = kept is not None and kept.monitor == "val/psnr_y"  # the score of another value is not a PSNR
    score = kept.best_model_score if kept is not None and is_psnr else None
    return (module.validation["psnr_y"] if score is None else float(score)) - module.validation["bicubic_psnr_y"]
