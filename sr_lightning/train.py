"""Command `train`: trains a network and tests it."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from sr_lightning.cli.fast_import import importing
from sr_lightning.cli.main import run_command
from sr_lightning.config.schema import TrainConfig
from sr_lightning.errors import InterruptedRun, TrainingFailedError
from sr_lightning.runs.allocator import keep_large_buffers
from sr_lightning.runs.resume import prepare, set_results_aside
from sr_lightning.runs.run import Run
from sr_lightning.training.failures import explain
from sr_lightning.training.next_steps import print_next_steps, resume_command

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from sr_lightning.data import SRDataModule
    from sr_lightning.loggers.metrics_csv import MetricsCsv
    from sr_lightning.training.module import SRModule

log = logging.getLogger(__name__)


def train(config: TrainConfig, run: Run) -> float:
    """Trains, tests and writes the results of one run.

    Args:
        config: The validated config.
        run: The run's folder, and what it resumes from.

    Returns:
        The objective: gain over bicubic in dB at the best validation.

    Raises:
        UserError: A component cannot be built, or the data does not fit.
        TrainingFailedError: The machine failed, or values are not finite.
        InterruptedRun: A signal stopped the run after its state was saved.
    """
    started = time.perf_counter()
    with importing("lightning"):  # takes seconds, so a mistyped key is reported before it
        import lightning.pytorch as pl

        from sr_lightning.builders.components import build_offering
        from sr_lightning.builders.loggers import build_loggers, run_tags
        from sr_lightning.builders.network import build_network
        from sr_lightning.builders.training import build_callbacks, build_module, build_trainer
        from sr_lightning.evaluation.method import training_sets
        from sr_lightning.loggers.metrics_csv import MetricsCsv
        from sr_lightning.loggers.records import begin, replay
        from sr_lightning.loggers.weights_and_biases import finish_wandb
        from sr_lightning.runs.environment import describe, quiet
        from sr_lightning.training.dry_run import dry_run
        from sr_lightning.training.final_test import final_test
        from sr_lightning.training.logged_names import validated
        from sr_lightning.training.notices import batch_norm_notice, busy_notice

    quiet()
    keep_large_buffers(config.hardware.get("accelerator", "auto"))
    policy = run.policy
    # Build.
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = build_offering(config.data, "data", accepts_other_data=policy.accepts_other_data)
    data.setup("fit")  # before W&B starts, so that a bad image does not leave a run there
    net = build_network(config.model)
    module = build_module(config, net, resets_optimizers=policy.resets_optimizers)
    csv = MetricsCsv(run.folder)
    callbacks = build_callbacks(config, run, csv=csv, started=started)
    loggers = build_loggers(config.logger, run, job_type="train", tags=run_tags(type(net).__name__, config))
    trainer = build_trainer(config, run.folder, callbacks=callbacks, loggers=[csv, *loggers])
    dry_run(module, data, trainer)  # reports mistakes in the user's own classes before anything is written
    if config.compile:
        net.compile()  # in place, so the names of the weights do not change
    info = describe(trainer, net, run.command, scale=config.scale[-1])
    info["train_data"] = "+".join(training_sets(asdict(config)))
    scales = "/x".join(map(str, config.scale))
    log.info("%s, %s parameters, x%s, %s", info["network"], f"{info['parameters']:,}", scales, info["hardware"])
    synchronised = bool(config.trainer.get("sync_batchnorm"))
    for part in module.trained_networks:
        if notice := batch_norm_notice(part, trainer, config.data["batch_size"], is_synchronised=synchronised):
            log.warning(notice)
    if trainer.is_global_zero and (notice := busy_notice(trainer)):
        log.warning(notice)
    step = _check_state(run, module, data, trainer)
    try:
        begin(loggers, asdict(config) | {"run": info}, validated(module, data))
        # Fit.
        _rewind_folder(run, csv, step, trainer)
        replay(loggers, csv.rows(), run.folder / "samples")
        _fit(trainer, module, data, run)
        # Test and report.
        objective = final_test(trainer, module, data, run.folder, info=info)
        if trainer.is_global_zero:
            print_next_steps(run, config)
    except BaseException as error:
        finish_wandb(exit_code=1)
        if isinstance(error, Exception) and (message := explain(error, run.folder)):
            command = resume_command(run, asdict(config))
            raise TrainingFailedError(f"{message}.\nOnce this is fixed, continue with\n  {command}") from error
        raise
    finish_wandb(exit_code=0)
    return objective


def _check_state(run: Run, module: SRModule, data: SRDataModule, trainer: pl.Trainer) -> int:
    """Checks that the run can begin, or go on from its checkpoint, before anything in its folder changes.

    Returns:
        The step from which it goes on; 0 for a new run.

    Raises:
        UserError: The data do not fit the trainer, or the checkpoint is not a state of this training.
    """
    from sr_lightning.checkpoints.plain_data import read_checkpoint

    if run.resume is None or run.resume.checkpoint is None:
        data.check_training(trainer)
        return 0
    content = read_checkpoint(run.resume.checkpoint)
    module.check_state(content)
    data.check_training(trainer, content.get(type(data).__qualname__))
    return int(content["global_step"])


def _rewind_folder(run: Run, csv: MetricsCsv, step: int, trainer: pl.Trainer) -> None:
    """Removes everything after the checkpoint from the run's folder, as the resumed run writes it again."""
    resume = run.resume
    if resume is not None and trainer.is_global_zero:
        for line in prepare(run.folder, resume):
            log.warning(line)
    if resume is None or resume.checkpoint is None:
        csv.truncate(0)  # a first attempt may have ended before its first checkpoint
        return
    rows = resume.trailer.logged_rows if resume.trailer else None
    if rows is None:  # written by an early version
        csv.convert(step)
    else:
        csv.truncate(rows)
    if trainer.is_global_zero:
        set_results_aside(run.folder, step=step, max_steps=trainer.max_steps)
    changes = [*resume.changes, *(key for key in resume.differing if not any(key in line for line in resume.changes))]
    what = "continuing from" if step < trainer.max_steps else "testing at"
    log.info("%s step %d; %s", what, step, "; ".join(changes) or "nothing in the config has changed")


def _fit(trainer: pl.Trainer, module: SRModule, data: SRDataModule, run: Run) -> None:
    """Trains, resuming from the checkpoint if there is one.

    Raises:
        InterruptedRun: A signal stopped the run after its state was saved.
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
                command = resume_command(run, module.config)
                print(f"\nstopped at step {trainer.global_step}; continue with\n  {command}", flush=True)
            raise InterruptedRun(stop.stopped_by, is_told=True)


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command("train", train, argv)


if __name__ == "__main__":
    sys.exit(main())
