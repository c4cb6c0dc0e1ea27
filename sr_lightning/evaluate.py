"""Command `evaluate`: scores networks on test sets, alongside bicubic and published results."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from sr_lightning.cli.fast_import import importing
from sr_lightning.cli.main import run_command
from sr_lightning.config.schema import EvaluateConfig
from sr_lightning.errors import FailedError
from sr_lightning.runs.allocator import keep_large_buffers
from sr_lightning.runs.run import Run
from sr_lightning.training.failures import explain

if TYPE_CHECKING:
    import torch

    from sr_lightning.data.degradations.base import Degradation


def evaluate(config: EvaluateConfig, run: Run) -> float | None:
    """Scores every method on every set; writes and prints the results.

    Args:
        config: The validated config.
        run: Folder and command of the run.

    Returns:
        The objective: the first method's gain over bicubic in dB, averaged over sets and scales; None without one.

    Raises:
        UserError: Among others, if a set is not the benchmark that it resembles.
        FailedError: A network's output is not finite (all other results are written and printed first), a disk is full,
            or there is not enough memory.
    """
    try:
        return _evaluate(config, run)
    except FailedError:
        raise
    except (OSError, RuntimeError, MemoryError) as error:
        if (message := explain(error, run.folder, saves_memory="tile=128, or with fewer metrics")) is None:
            raise
        raise FailedError(message) from None


def _evaluate(config: EvaluateConfig, run: Run) -> float | None:
    started = time.perf_counter()
    # Imported here, as torch takes seconds, and a mistyped key should be reported before that.
    with importing("torch"):
        import torch

        from sr_lightning.builders.loggers import build_evaluation_log
        from sr_lightning.builders.methods import build_methods
        from sr_lightning.builders.metrics import build_quality_metrics
        from sr_lightning.builders.test_sets import build_degradation, find_test_sets
        from sr_lightning.data.datasets import EvalImages
        from sr_lightning.distributed.process_group import joined
        from sr_lightning.evaluation.output import print_evaluation, write_evaluation
        from sr_lightning.evaluation.pipeline import TestBench, run_evaluation
        from sr_lightning.evaluation.saved_predictions import match_predictions
        from sr_lightning.models.precision import exact_float32

    keep_large_buffers(config.accelerator)
    with joined(config.accelerator, config.devices) as place, exact_float32(place.device), torch.inference_mode():
        log_evaluation = build_evaluation_log(config, run, rank=place.rank)
        networks = build_methods(config)
        scales = config.scale or sorted({scale for method in networks for scale in method.scales})
        sets, degrade = find_test_sets(config, scales), build_degradation(config)
        images = EvalImages(sets, scales)
        methods = [*networks, *match_predictions(config.predictions, images, taken=networks)]
        evaluation = run_evaluation(
            TestBench(
                sets=sets,
                images=images,
                degrade=degrade,
                metrics=build_quality_metrics(config.metrics, "metrics"),
                place=place,
                save_to=run.folder / "pictures" if config.save_pictures else None,
                shown=8 if config.logger else 0,
            ),
            methods,
            keep_altered=not config.self_check,
            costs=config.cost,
            settings=_protocol(config, degrade, place.device, place.world_size),
            show_published=config.published,
            seed=config.seed,
        )
        if place.rank == 0:
            minutes = (time.perf_counter() - started) / 60
            write_evaluation(evaluation, run, formats=config.format, minutes=minutes)
            print_evaluation(evaluation, run, formats=config.format)
            log_evaluation(evaluation, minutes)
    if evaluation.refusals:
        raise FailedError("\n".join(evaluation.refusals))
    return evaluation.objective


def _protocol(config: EvaluateConfig, degrade: Degradation, device: torch.device, world_size: int) -> dict[str, Any]:
    """Returns the protocol except for its fixed part."""
    from sr_lightning.data.degradations.base import lr_protocol
    from sr_lightning.runs.environment import hardware

    return {
        **lr_protocol(degrade),
        "lr_ready_made": [name for name, e in config.data["test"].items() if isinstance(e, dict) and e.get("lr")],
        "self_ensemble": config.self_ensemble,
        "tile": config.tile,
        "precision": "float32",
        "hardware": hardware(device, world_size),
    }


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command("evaluate", evaluate, argv)


if __name__ == "__main__":
    sys.exit(main())
