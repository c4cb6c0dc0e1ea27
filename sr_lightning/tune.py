"""Command `tune`: searches for the best values of config keys; every trial is an ordinary training run."""

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
    """Begins or continues a study and prints what came of it.

    Args:
        config: Checked.
        arguments: As typed: what is not the study's own goes to every trial.

    Raises:
        UserError: A value that is searched cannot be trained with, or the study was begun with something else.
        FailedError: No trial succeeds.
        InterruptedRun: A signal came; the same command continues the study.
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
            print(f"continuing with {len(known)} trials of {config.n_trials}; n_trials=… asks for more", flush=True)
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
    """What a trial has beside that which the user types: its place in Weights & Biases, and what is measured."""
    measured, own = config.train.val_metrics or {}, []
    if "perceptual" in config.objectives and "perceptual" not in measured:
        are_ours = not any(measured.values())  # a list of names takes no further key
        own = [f"val_metrics=[{','.join([*measured, 'perceptual'])}]" if are_ours else "++val_metrics.perceptual=true"]
    if "wandb" in config.train.logger:
        own += [f"++logger.wandb.group={name}", "++logger.wandb.job_type=trial"]
    return own


def _cost(overrides: list[str], config_dir: str | None) -> dict[str, float]:
    """Multiply-adds of an image of 1280x720 at the (first) scale."""
    from sr_lightning.builders.network import build_network
    from sr_lightning.inference.cost import multiply_adds

    (job,) = compose_jobs("train", overrides, config_dir=config_dir, config_name=None, is_sweep=False)
    train = check_train(job.config)
    counted = multiply_adds(build_network(train.model), min(train.scale))
    return {} if counted is None else {"multiply_adds": float(counted)}


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run_command("tune", tune, argv)


if __name__ == "__main__":
    sys.exit(main())
