"""Command `tune`: searches for the best values of config keys; every trial is a regular training run."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

from sr_lightning.cli.arguments import Arguments
from sr_lightning.cli.main import run_command
from sr_lightning.config.compose import compose_jobs
from sr_lightning.config.train import check_train
from sr_lightning.config.tune import TuneConfig, check_search, fixed_overrides
from sr_lightning.errors import UserError
from sr_lightning.runs.lock import locked
from sr_lightning.text import shown


def tune(config: TuneConfig, arguments: Arguments) -> None:
    """Starts or continues a study, and prints its results.

    Args:
        config: The validated config.
        arguments: Arguments as typed; those that do not belong to the study are passed to every trial.

    Raises:
        UserError: A searched value cannot be used for training, or the study was started with other settings.
        FailedError: No trial succeeds.
        InterruptedRun: A signal stopped the study; the same command continues it.
    """
    if arguments.config_name:
        raise UserError("--config-name: trials have the config train; allowed: --config-dir=… experiment=…")
    if find_spec("optuna") is None:
        raise UserError("tune: optuna is not installed; allowed: pip install 'sr_lightning[tune]'")
    fixed = fixed_overrides(arguments.overrides)
    check_search(config, fixed, config_dir=arguments.config_dir)
    from sr_lightning.tuning.report import print_study
    from sr_lightning.tuning.search import Search
    from sr_lightning.tuning.study import Study, shown_storage, study_name

    name = study_name(config)
    folder = Path(config.train.paths.runs) / "tune" / name
    print(f"study folder: {folder}", flush=True)
    if storage := shown_storage(config):
        print(f"storage: {storage}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, "study") if storage is None else nullcontext():
        study = Study(config, name, folder)
        if known := study.begun():
            print(f"continuing with {len(known)} of {config.n_trials} trials; n_trials=… asks for more", flush=True)
        flags = [f"--config-dir={arguments.config_dir}"] if arguments.config_dir else []
        search = Search(
            study,
            [*flags, *fixed, *_own_overrides(config, name)],
            lambda tried: _cost([*fixed, *tried], arguments.config_dir),
        )
        try:
            search.go_on()
        finally:
            print_study(study, [*flags, *fixed])
            if search.stopped_by is not None:
                print(f"\nstopped; the same command continues the study ({shown(folder)})", flush=True)


def _own_overrides(config: TuneConfig, name: str) -> list[str]:
    """Returns a trial's overrides besides the user's: its group in Weights & Biases, and the metrics to measure."""
    measured, own = config.train.val_metrics or {}, []
    if "perceptual" in config.objectives and "perceptual" not in measured:
        are_ours = not any(measured.values())  # a list of names accepts no further keys
        own = [f"val_metrics=[{','.join([*measured, 'perceptual'])}]" if are_ours else "++val_metrics.perceptual=true"]
    if "wandb" in config.train.logger:
        own += [f"++logger.wandb.group={name}", "++logger.wandb.job_type=trial"]
    return own


def _cost(overrides: list[str], config_dir: str | None) -> dict[str, float]:
    """Counts the multiply-adds for a 1280x720 SR image at the (first) scale."""
    from sr_lightning.builders.network import build_network
    from sr_lightning.inference.cost import multiply_adds

    (job,) = compose_jobs("train", overrides, config_dir=config_dir, config_name=None, is_sweep=False)
    train = check_train(job.config)
    counted = multiply_adds(build_network(train.model), min(train.scale))
    return {} if counted is None else {"multiply_adds": float(counted)}


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command("tune", tune, argv)


if __name__ == "__main__":
    sys.exit(main())
