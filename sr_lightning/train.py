"""`python -m sr_lightning.train`: trains a network, tests it, and says where everything lies."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sr_lightning.config import TrainConfig
from sr_lightning.entry import run_command
from sr_lightning.folders import shown
from sr_lightning.run import InterruptedRun, Run

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from sr_lightning.module import SRModule

log = logging.getLogger(__name__)


def train(config: TrainConfig, run: Run) -> float:
    """Trains, tests and writes the results of one run.

    Args:
        config: Checked.
        run: Where it lies.

    Returns:
        The objective: dB above bicubic of the best validation.
    """
    started = time.perf_counter()
    # Imported here: torch takes 3 s and lightning 12 s, and a mistyped key is answered before that.
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import Logger

    from sr_lightning import build
    from sr_lightning.loggers import MetricsCsv
    from sr_lightning.run_info import describe, quiet

    quiet()
    plain = asdict(config)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = build.build(config.data, "data")
    data.setup("fit")  # before W&B starts: a bad picture should not leave a run there
    net = build.build_network(config.model)
    if config.compile:
        net.compile()  # in place: the names of the weights stay as they are
    module = build.build_module(config, net)
    callbacks = build.build_parts(config.callbacks, "callbacks", pl.Callback, folder=str(run.folder))
    loggers = build.build_parts(config.logger, "logger", Logger, folder=str(run.folder), group=run.group)
    csv = MetricsCsv(run.folder)
    trainer = build.build_trainer(config, run.folder, callbacks=callbacks, loggers=[csv, *loggers])
    info = describe(trainer, net, run.command)
    log.info(
        "%s, %s parameters, x%s, %s", info["network"], f"{info['parameters']:,}", _scales(config), info["hardware"]
    )
    try:
        for logger in loggers:
            logger.log_hyperparams(plain | {"run": info})
        if run.resume:
            _tell_resume(run, csv)
        trainer.fit(module, datamodule=data, ckpt_path=run.resume.checkpoint if run.resume else None, weights_only=True)
        _raise_if_stopped(trainer, run)
        objective = _finish(trainer, module, data, config, run, info, started)
    except BaseException:
        _finish_wandb(exit_code=1)
        raise
    _finish_wandb(exit_code=0)
    return objective


def _tell_resume(run: Run, csv: Any) -> None:
    from sr_lightning.checkpoint import read_checkpoint

    assert run.resume is not None
    step = int(read_checkpoint(run.resume.checkpoint)["global_step"])
    csv.truncate(step)
    log.info("continuing from step %d; %s", step, "; ".join(run.resume.changes) or "nothing in the config has changed")


def _raise_if_stopped(trainer: pl.Trainer, run: Run) -> None:
    from sr_lightning.callbacks import SafeStop

    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, SafeStop) and callback.stopped_by is not None:
            way = f"the same command and hydra.sweep.dir={shown(run.folder.parent)}"
            if run.group is None:
                way = f"python -m sr_lightning.train ckpt_path={shown(run.folder)}"
            print(f"\nstopped at step {trainer.global_step}; continue with\n  {way}", flush=True)
            raise InterruptedRun(callback.stopped_by)


def _finish(
    trainer: pl.Trainer,
    module: SRModule,
    data: Any,
    config: TrainConfig,
    run: Run,
    info: dict[str, Any],
    started: float,
) -> float:
    """Tests the best weights, writes and shows the results."""
    from rich.console import Console

    from sr_lightning.checkpoint import load_weights
    from sr_lightning.results import results_table, summarise, write_results

    objective = _objective(trainer)
    best = run.folder / "checkpoints" / "best.ckpt"
    if best.is_file():
        load_weights(module.net, best)
    trainer.test(module, datamodule=data, verbose=False)
    rows = module.results
    for logger in trainer.loggers:
        logger.log_metrics(
            {
                f"test/{row.set}/x{row.scale}/{name}": getattr(row, name)
                for row in summarise(rows)
                for name in ("psnr_y", "ssim_y", "bicubic_psnr_y", "bicubic_ssim_y", "gain")
            },
            step=trainer.global_step,
        )
    minutes = (time.perf_counter() - started) / 60
    if trainer.is_global_zero:
        method = type(module.net).__name__
        write_results(
            run.folder,
            rows,
            method=method,
            checkpoint="checkpoints/best.ckpt" if best.is_file() else None,
            params=info["parameters"],
            degradation=data.degrade.describe(),
            extra={"objective": objective, "steps": trainer.global_step, "minutes": minutes, "run": info}
            | {"training_pictures_left_out": data.left_out},
        )
        _log_wandb_table(trainer, rows, method)
        Console().print(results_table(rows, method=method, params=info["parameters"]))
        print(f"{trainer.global_step} steps in {minutes:.1f} min on {info['hardware']}")
        _tell_next(run, config)
    return objective


def _objective(trainer: pl.Trainer) -> float:
    """Gain at the best validation: its PSNR less bicubic's, which never changes; else at the last one."""
    metrics = trainer.callback_metrics
    if "val/psnr_y" not in metrics:
        return float("nan")
    bicubic = float(metrics["val/psnr_y"]) - float(metrics["val/gain"])
    kept = trainer.checkpoint_callback
    is_psnr = getattr(kept, "monitor", None) == "val/psnr_y"  # the score of another value is no PSNR
    score = getattr(kept, "best_model_score", None) if is_psnr else None
    return float(metrics["val/psnr_y"] if score is None else score) - bicubic


def _log_wandb_table(trainer: pl.Trainer, rows: list[Any], method: str) -> None:
    from lightning.pytorch.loggers import WandbLogger

    columns = ["set", "scale", "name", "psnr_y", "ssim_y", "bicubic_psnr_y", "bicubic_ssim_y", "gain"]
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            data = [[method, *(getattr(row, name) for name in columns)] for row in rows]
            logger.log_table("results", columns=["method", *columns], data=data)


def _finish_wandb(*, exit_code: int) -> None:
    """Ends the W&B run: the next job of a sweep would otherwise write into it."""
    if "wandb" in sys.modules:
        import wandb

        wandb.finish(exit_code=exit_code)


def _tell_next(run: Run, config: TrainConfig) -> None:
    """Where everything lies, and what to try."""
    folder = shown(run.folder)
    print(f"\nrun folder  {folder}   (metrics.csv, results.json, per_image.csv)")
    print(f"pictures    {folder}/samples/")
    print(f"weights     {folder}/checkpoints/best.ckpt")
    if (config.logger.get("wandb") or {}).get("mode") == "offline":
        print(f"W&B         look: wandb leet {folder}/wandb/latest-run")
        print(f"            send: wandb sync {folder}/wandb/offline-run-*")
    if run.group is None:
        print("\nnext, for instance")
        print("  python -m sr_lightning.train scale=2")
        print("  python -m sr_lightning.train loss.beta=0.01")
        print("  python -m sr_lightning.train -m scale=2,3,4 loss.beta=0,0.01")


def _scales(config: TrainConfig) -> str:
    return "/x".join(str(scale) for scale in config.scale)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run_command("train", train, argv)


if __name__ == "__main__":
    sys.exit(main())
