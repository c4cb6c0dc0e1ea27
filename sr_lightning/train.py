"""`python -m sr_lightning.train`: trains a network, tests it, and says where everything lies."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sr_lightning.cli.fast_import import importing
from sr_lightning.cli.main import run_command
from sr_lightning.config.schema import TrainConfig
from sr_lightning.errors import InterruptedRun, TrainingFailedError
from sr_lightning.runs.run import Run
from sr_lightning.text import shown
from sr_lightning.training.failures import explain

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from sr_lightning.data import SRDataModule
    from sr_lightning.loggers.metrics_csv import MetricsCsv
    from sr_lightning.training.module import SRModule

log = logging.getLogger(__name__)

# Begin of the keys by which the best so far was judged, and of those that an optimizer and its schedule keep.
_WHAT_BEST_MEANS = ("callbacks.checkpoints", "data.val", "data.kernel", "data.degradation")
_WHAT_STEPS_MEAN = ("optimizer", "scheduler", "adversarial.optimizer", "trainer.max_steps")


def train(config: TrainConfig, run: Run) -> float:
    """Trains, tests and writes the results of one run.

    Args:
        config: Checked.
        run: Where it lies.

    Returns:
        The objective: dB above bicubic of the best validation.
    """
    started = time.perf_counter()
    # Imported here: they take seconds, and a mistyped key is answered before that.
    with importing("lightning"):
        import lightning.pytorch as pl
        from lightning.pytorch.loggers import Logger

        from sr_lightning.builders.components import build, build_parts
        from sr_lightning.builders.network import build_network
        from sr_lightning.builders.training import build_module, build_trainer
        from sr_lightning.loggers.metrics_csv import MetricsCsv
        from sr_lightning.loggers.weights_and_biases import finish_wandb
        from sr_lightning.runs.environment import describe, quiet

    quiet()
    plain = asdict(config)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = build(config.data, "data")
    data.setup("fit")  # before W&B starts: a bad image should not leave a run there
    net = build_network(config.model)
    if config.compile:
        net.compile()  # in place: the names of the weights stay as they are
    module = build_module(config, net)
    callbacks = _callbacks(config, run)
    loggers = build_parts(config.logger, "logger", Logger, folder=str(run.folder), group=run.group)
    csv = MetricsCsv(run.folder)
    trainer = build_trainer(config, run.folder, callbacks=callbacks, loggers=[csv, *loggers])
    info = describe(trainer, net, run.command)
    log.info(
        "%s, %s parameters, x%s, %s", info["network"], f"{info['parameters']:,}", _scales(config), info["hardware"]
    )
    try:
        for logger in loggers:
            logger.log_hyperparams(plain | {"run": info})
        _return_to(run, csv, module, data, trainer)
        _fit(trainer, module, data, run)
        objective = _finish(trainer, module, data, config, run, info, started)
    except BaseException as error:
        finish_wandb(exit_code=1)
        if isinstance(error, Exception) and (said := explain(error, run.folder)):
            raise TrainingFailedError(f"{said}. When there is, continue with\n  {_way_on(run, plain)}") from error
        raise
    finish_wandb(exit_code=0)
    return objective


def _callbacks(config: TrainConfig, run: Run) -> list[pl.Callback]:
    """The config's, and those without which a run could not continue; their order matters."""
    import lightning.pytorch as pl

    from sr_lightning.builders.components import build_parts
    from sr_lightning.callbacks import Checkpoints, Continuation, OwedValidation, SafeStop

    callbacks = build_parts(config.callbacks, "callbacks", pl.Callback, folder=str(run.folder))
    for callback in callbacks:
        if isinstance(callback, Checkpoints) and run.resume:
            callback.starts_anew = any(key.startswith(_WHAT_BEST_MEANS) for key in run.resume.differing)
    continuation = Continuation(folder=str(run.folder))
    stops = [callback for callback in callbacks if isinstance(callback, SafeStop)]
    others = [callback for callback in callbacks if not isinstance(callback, SafeStop)]
    # A step is noted when all others, the average of the weights among them, are through with it; then it is saved.
    return [*others, continuation, *stops, OwedValidation(continuation)]


def _return_to(run: Run, csv: MetricsCsv, module: SRModule, data: SRDataModule, trainer: pl.Trainer) -> None:
    """Puts everything but Lightning's own state back to where the run continues."""
    from sr_lightning.checkpoints.plain_data import read_checkpoint

    resume = run.resume
    if resume is None or resume.checkpoint is None:
        csv.truncate(0)  # what a first try, ended before its first checkpoint, has logged
        return
    if resume.seal:
        step = resume.seal.step
    else:
        module.check_state(content := read_checkpoint(resume.checkpoint))
        step = int(content["global_step"])
    csv.truncate(step)
    module.renews_optimizers = any(key.startswith(_WHAT_STEPS_MEAN) for key in resume.differing)
    data.may_differ = any(key.startswith(("data", "seed")) for key in resume.allowed)
    results = run.folder / "results.json"
    if trainer.is_global_zero and results.is_file() and step < trainer.max_steps:
        results.replace(results.with_name(f"results_step{step}.json"))  # its presence says that a run is finished
    changes = [*resume.changes, *(key for key in resume.differing if not any(key in told for told in resume.changes))]
    log.info("continuing from step %d; %s", step, "; ".join(changes) or "nothing in the config has changed")


def _fit(trainer: pl.Trainer, module: SRModule, data: SRDataModule, run: Run) -> None:
    """Trains.

    Raises:
        InterruptedRun: A signal came, and the state is saved.
    """
    from sr_lightning.callbacks import SafeStop

    stops = [callback for callback in trainer.callbacks if isinstance(callback, SafeStop)]  # type: ignore[attr-defined]  # set by a connector
    checkpoint = run.resume.checkpoint if run.resume else None
    try:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except (Exception, InterruptedRun):
        if not any(stop.stopped_by for stop in stops):
            raise
    for stop in stops:
        if stop.stopped_by is not None:
            if trainer.is_global_zero:
                way_on = _way_on(run, module.config)
                print(f"\nstopped at step {trainer.global_step}; continue with\n  {way_on}", flush=True)
            raise InterruptedRun(stop.stopped_by)


def _way_on(run: Run, config: dict[str, Any]) -> str:
    """What to type."""
    from sr_lightning.runs.saved_config import typed_again

    if run.group is not None:
        return f"the same command and hydra.sweep.dir={shown(run.folder.parent)}"
    return " ".join([f"python -m sr_lightning.train ckpt_path={shown(run.folder)}", *typed_again(config)])


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

    from sr_lightning.checkpoints.weights import load_weights
    from sr_lightning.evaluation.results import BICUBIC, logged, summarise, write_results
    from sr_lightning.evaluation.tables import TRAINING, records, terminal
    from sr_lightning.loggers.weights_and_biases import log_table

    objective = _objective(trainer, module)
    best = run.folder / "checkpoints" / "best.ckpt"
    if best.is_file():
        load_weights(module.net, best)
    trainer.test(module, datamodule=data, verbose=False)
    scores = module.results
    rows = summarise(scores)
    gains = {f"test/{row.set}/x{row.scale}/gain": row.gain for row in rows if row.method != BICUBIC}
    for logger in trainer.loggers:
        logger.log_metrics(logged(rows, "test") | gains, step=trainer.global_step)
    minutes = (time.perf_counter() - started) / 60
    if trainer.is_global_zero:
        checkpoint = "checkpoints/best.ckpt" if best.is_file() else None
        facts = {module.method: {"checkpoint": checkpoint, "params": info["parameters"]}}
        write_results(
            run.folder,
            scores,
            facts=facts,
            protocol={"lr_kernel": data.degrade.describe()},
            extra={"objective": objective, "steps": trainer.global_step, "minutes": minutes, "run": info}
            | {"training_pictures_left_out": data.left_out},
        )
        log_table(trainer.loggers, scores, module.method)
        Console().print(terminal(records(rows, facts), TRAINING))
        print(f"{trainer.global_step} steps in {minutes:.1f} min on {info['hardware']}")
        _tell_next(run, config)
    return objective


def _objective(trainer: pl.Trainer, module: SRModule) -> float:
    """Gain at the best validation: its PSNR less bicubic's, which never changes; else at the last one."""
    from sr_lightning.callbacks import Checkpoints

    if module.validation is None:
        return float("nan")
    kept = next((c for c in trainer.callbacks if isinstance(c, Checkpoints)), None)  # type: ignore[attr-defined]  # set by a connector
    is_psnr = kept is not None and kept.monitor == "val/psnr_y"  # the score of another value is no PSNR
    score = kept.best_model_score if kept is not None and is_psnr else None
    return (module.validation["psnr_y"] if score is None else float(score)) - module.validation["bicubic_psnr_y"]


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
