"""`python -m sr_lightning.evaluate`: the papers' table, with the protocol and the published rows."""

from __future__ import annotations

import functools
import logging
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sr_lightning.cli.fast_import import importing
from sr_lightning.cli.main import run_command
from sr_lightning.config.schema import EvaluateConfig
from sr_lightning.errors import FailedError, UserError
from sr_lightning.runs.run import Run

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sr_lightning.data.batch import EvalBatch
    from sr_lightning.data.degradations.base import Degradation
    from sr_lightning.data.images import Images
    from sr_lightning.distributed.process_group import Place
    from sr_lightning.evaluation.benchmark_check import Checked
    from sr_lightning.evaluation.evaluator import Bench
    from sr_lightning.evaluation.method import Method
    from sr_lightning.evaluation.results import ImageScore
    from sr_lightning.inference.cost import Cost

log = logging.getLogger(__name__)


def evaluate(config: EvaluateConfig, run: Run) -> float | None:
    """Scores every method on every set, writes and shows the results.

    Args:
        config: Checked.
        run: Where it lies.

    Returns:
        The objective: dB above bicubic of the first method, the mean over its sets and scales; None without one.

    Raises:
        UserError: Among others, where a set is not the benchmark that it looks like.
        FailedError: A network's output is not finite; what else there is to say is written and shown before.
    """
    started = time.perf_counter()
    # Imported here: torch takes seconds, and a mistyped key is answered before that.
    with importing("torch"):
        import torch

        from sr_lightning.builders.methods import build_methods
        from sr_lightning.data.datasets import EvalImages
        from sr_lightning.distributed.process_group import joined
        from sr_lightning.evaluation.evaluator import Bench
        from sr_lightning.evaluation.output import show, write
        from sr_lightning.evaluation.results import gathered, refused
        from sr_lightning.evaluation.summary import Evaluation
        from sr_lightning.metrics.perceptual import Unavailable, build_quality

    with joined(config.accelerator, config.devices) as place, torch.inference_mode():
        methods = build_methods(config)
        scales = config.scale or sorted({scale for method in methods for scale in method.scales})
        sets, degrade = _find_sets(config, scales), _degradation(config)
        metrics = build_quality(config.metrics)
        usable = {name: metric for name, metric in metrics.items() if not isinstance(metric, Unavailable)}
        bench = Bench(EvalImages(sets, scales), degrade, place.device, place.rank, place.world_size, usable)
        bicubic = gathered(_score_bicubic(bench, config, run))
        checks = _check_sets(sets, bicubic, degrade, keep=not config.self_check)  # before the networks take their time
        scores = _named(bicubic + gathered(_score_networks(methods, bench, config, run)), checks)
        without = refused(scores)
        scores = [score for score in scores if (score.method, score.set, score.scale) not in without]
        evaluation = Evaluation(
            scores=scores,
            methods=methods,
            checks=checks,
            costs=_measure(methods, place, config) if config.cost and place.rank == 0 else {},
            metrics=metrics,
            settings=_settings(config, degrade, place),
            show_published=config.published,
            seed=config.seed,
            refused=without,
        )
        if place.rank == 0:
            minutes = (time.perf_counter() - started) / 60
            write(evaluation, run, formats=config.format, objective=_objective(scores, methods), minutes=minutes)
            show(evaluation, run, formats=config.format)
    if without:
        raise FailedError("\n".join(evaluation.refusals))
    return _objective(scores, methods)


def _find_sets(config: EvaluateConfig, scales: Sequence[int]) -> list[Images]:
    from sr_lightning.data.files import EXTENSIONS
    from sr_lightning.data.image_sets import SetFinder

    extensions = config.data.get("extensions") or EXTENSIONS
    finder = SetFinder(scales, extensions=extensions, cache_dir=config.paths.cache)
    return [finder.evaluation(f"data.test.{name}", name, entry) for name, entry in config.data["test"].items()]


def _degradation(config: EvaluateConfig) -> Degradation:
    from sr_lightning.builders.components import build
    from sr_lightning.data.degradations.base import Downscale

    if section := config.data.get("degradation"):
        built: Degradation = build(section, "data.degradation")
        return built
    return Downscale(config.data.get("kernel") or "bicubic")


def _settings(config: EvaluateConfig, degrade: Degradation, place: Place) -> dict[str, Any]:
    """What the protocol says besides its fixed part."""
    from sr_lightning.runs.environment import hardware

    return {
        "lr_kernel": degrade.describe(),
        "lr_ready_made": [name for name, e in config.data["test"].items() if isinstance(e, dict) and e.get("lr")],
        "self_ensemble": config.self_ensemble,
        "tile": config.tile,
        "precision": "float32",
        "hardware": hardware(place.device, place.world_size),
    }


def _score_bicubic(bench: Bench, config: EvaluateConfig, run: Run) -> list[ImageScore]:
    from sr_lightning.evaluation.output import saver
    from sr_lightning.evaluation.results import BICUBIC
    from sr_lightning.inference.predict import bicubic

    seen = saver(run.folder, BICUBIC, bench.images) if config.save_pictures else None
    return list(bench.run(BICUBIC, lambda batch: bicubic(batch.lr, batch.scale), seen=seen))


def _score_networks(methods: Sequence[Method], bench: Bench, config: EvaluateConfig, run: Run) -> list[ImageScore]:
    from sr_lightning.evaluation.output import saver

    scores: list[ImageScore] = []
    for method in methods:
        log.info("%s: %s", method.label, method.checkpoint or "without a checkpoint")
        net = method.net.to(bench.device)
        try:
            scores += bench.run(
                method.name,
                functools.partial(_enlarged, net, config),
                scales=method.scales,
                seen=saver(run.folder, method.folder, bench.images) if config.save_pictures else None,
            )
        except ValueError as error:  # a network that makes another size
            raise UserError(f"{method.checkpoint or method.label}: {error}") from None
        method.net.to("cpu")  # one network at a time on the device
    return scores


def _enlarged(net: nn.Module, config: EvaluateConfig, batch: EvalBatch) -> Tensor:
    from sr_lightning.inference.predict import super_resolve

    return super_resolve(net, batch.lr, batch.scale, self_ensemble=config.self_ensemble, tile=config.tile)


def _check_sets(
    sets: Sequence[Images], bicubic: Sequence[ImageScore], degrade: Degradation, *, keep: bool
) -> list[Checked]:
    """Refuses sets that are not the benchmark they look like, or keeps them under another name."""
    from sr_lightning.evaluation.benchmark_check import check_set
    from sr_lightning.evaluation.results import summarise

    rows = summarise(bicubic)
    checks = [
        check_set(images, [row for row in rows if row.set == images.name], degradation=degrade.describe())
        for images in sets
    ]
    wrong = [f"data.test.{check.set}: {finding}" for check in checks for finding in check.findings]
    if wrong and not keep:
        raise UserError(
            "\n".join(wrong)
            + "\nno table is printed; allowed: the benchmark and its protocol as they are, or self_check=false, which "
            "calls such a set altered and puts no published rows beside it"
        )
    return checks


def _named(scores: Sequence[ImageScore], checks: Sequence[Checked]) -> list[ImageScore]:
    titles = {check.set: check.title for check in checks}
    return [replace(score, set=titles[score.set]) for score in scores]


def _measure(methods: Sequence[Method], place: Place, config: EvaluateConfig) -> Mapping[tuple[str, int], Cost]:
    """Of each network at each of its scales; checkpoints that share a label cost the same."""
    from sr_lightning.image.color import SYMMETRIES
    from sr_lightning.inference.cost import measure_cost

    costs: dict[tuple[str, int], Cost] = {}
    known: dict[tuple[str, int], Cost] = {}
    for method in methods:
        for scale in method.scales:
            same = (method.label, scale)
            if same not in known:
                log.info("measuring what %s costs at x%d", method.label, scale)
                cost = measure_cost(method.net, scale, device=str(place.device))
                known[same] = cost.repeated(SYMMETRIES) if config.self_ensemble else cost
            costs[method.name, scale] = known[same]
    return costs


def _objective(scores: Sequence[ImageScore], methods: Sequence[Method]) -> float | None:
    from sr_lightning.evaluation.results import summarise

    first = [row.gain for row in summarise(scores) if methods and row.method == methods[0].name]
    return statistics.fmean(first) if first else None


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run_command("evaluate", evaluate, argv)


if __name__ == "__main__":
    sys.exit(main())
