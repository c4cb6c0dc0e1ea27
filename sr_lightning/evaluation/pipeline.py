"""Evaluation pipeline: bicubic, benchmark check, predictions, scores, costs."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sr_lightning.data.datasets import EvalImages
from sr_lightning.data.degradations.base import Degradation
from sr_lightning.data.images import Images
from sr_lightning.distributed.process_group import Place
from sr_lightning.errors import UserError
from sr_lightning.evaluation.benchmark_check import BenchmarkCheck, check_benchmark
from sr_lightning.evaluation.diagnosis import FAR_BELOW, FIRST_IMAGES, diagnose
from sr_lightning.evaluation.evaluator import score
from sr_lightning.evaluation.method import BicubicMethod, Method, NetworkMethod, folder_names
from sr_lightning.evaluation.predictions import Prediction, predict, save_predictions
from sr_lightning.evaluation.scores import (
    ImageScore,
    MethodId,
    bicubic_scores,
    gain,
    gather_scores,
    non_finite,
    summarise,
)
from sr_lightning.evaluation.sheet import Pixels, cropped_panels
from sr_lightning.evaluation.summary import Evaluation
from sr_lightning.image.color import SYMMETRIES
from sr_lightning.inference.cost import Cost, measure_cost
from sr_lightning.metrics.quality import QualityMetric, UnavailableMetric

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TestBench:
    """The images, metrics and device, which are the same for every method."""

    sets: Sequence[Images]
    images: EvalImages
    """Images of all sets, at every scale."""
    degrade: Degradation
    metrics: Mapping[str, QualityMetric | UnavailableMetric]
    place: Place
    save_to: Path | None = None
    """Folder for the predictions; None to discard them."""
    shown: int = 0
    """Number of images per set and scale for which panels are kept for a logger."""

    def predictions(self, method: Method, folder: str) -> Iterator[Prediction]:
        """Runs a method on this process's share of the images; `folder` is its sub-folder of `save_to`."""
        with method.on(self.place.device):
            predictions = predict(method, self.images, self.degrade, self.place)
            if self.save_to is not None:
                predictions = save_predictions(predictions, self.save_to / folder, self.images)
            yield from predictions

    def score(self, prediction: Prediction, method: Method) -> ImageScore:
        """Scores one of a method's predictions."""
        metrics = {name: metric for name, metric in self.metrics.items() if not isinstance(metric, UnavailableMetric)}
        return score(prediction, method.id, metrics)


def run_evaluation(
    bench: TestBench,
    methods: Sequence[Method],
    *,
    keep_altered: bool,
    costs: bool,
    settings: Mapping[str, Any],
    show_published: bool,
    seed: int,
) -> Evaluation:
    """Scores bicubic and every method on every set.

    Args:
        bench: The images, metrics and device.
        methods: The methods; the first is compared with all others.
        keep_altered: Evaluate a set that is not the benchmark it appears to be, marked as altered.
        costs: Measure multiply-adds, latency and memory of each network.
        settings: The variable part of the protocol.
        show_published: Show published rows beside ours.
        seed: Seed of the bootstrap.

    Returns:
        The evaluation, complete on every rank; costs on rank 0 only.

    Raises:
        UserError: A set is not the benchmark that it appears to be, or another program's images cannot be scored.
    """
    baseline = BicubicMethod()
    folders = folder_names([baseline, *methods])
    predictions = bench.predictions(baseline, folders[baseline.id])
    bicubic = gather_scores([bench.score(prediction, baseline) for prediction in predictions])
    checks = _check_benchmarks(bench, bicubic, keep_altered=keep_altered)  # before the networks take their time
    panels: dict[tuple[str, int, int], dict[str, Pixels]] = {}
    own, diagnoses = _score_methods(bench, methods, bicubic, folders, panels)
    scores = _with_titles(bicubic + gather_scores(own), checks)
    titles = {check.set: check.title for check in checks}
    dropped = non_finite(scores)
    return Evaluation(
        scores=[score for score in scores if (score.method, score.set, score.scale) not in dropped],
        methods=methods,
        checks=checks,
        costs=_measure_costs(methods, bench.place) if costs and bench.place.rank == 0 else {},
        metrics=bench.metrics,
        settings=settings,
        show_published=show_published,
        seed=seed,
        non_finite=dropped,
        diagnoses=diagnoses,
        panels={(titles[name], scale, key): found for (name, scale, key), found in panels.items()},
    )


def _score_methods(
    bench: TestBench,
    methods: Sequence[Method],
    bicubic: Sequence[ImageScore],
    folders: Mapping[MethodId, str],
    panels: dict[tuple[str, int, int], dict[str, Pixels]],
) -> tuple[list[ImageScore], list[str]]:
    """Scores all methods, and diagnoses each whose first images are far below bicubic; fills `panels`."""
    found: list[ImageScore] = []
    diagnoses: list[str] = []
    baseline = bicubic_scores(bicubic)
    for method in methods:
        source = method.id.source or "without a checkpoint"
        log.info("scoring %s", method.label if source == method.label else f"{method.label}: {source}")
        is_known = False
        for n, prediction in enumerate(bench.predictions(method, folders[method.id])):
            found.append(bench.score(prediction, method))
            if method is methods[0] and prediction.image is not None:
                of_set = sum(key[:2] == found[-1].image[:2] for key in panels)
                if of_set < bench.shown:
                    panels[found[-1].image] = cropped_panels(prediction.image, prediction.batch)
            above = gain(found[-1].psnr_y, baseline[found[-1].image].psnr_y)
            if n < FIRST_IMAGES and not is_known and above < -FAR_BELOW and math.isfinite(above):
                diagnoses.append(diagnose(method, prediction, above))
                log.warning("%s", diagnoses[-1])  # immediately: the rest may take hours
                is_known = True
    return found, diagnoses


def _check_benchmarks(bench: TestBench, bicubic: Sequence[ImageScore], *, keep_altered: bool) -> list[BenchmarkCheck]:
    """Refuses sets that are not the benchmark they appear to be, or keeps them under another name."""
    rows, degradation = summarise(bicubic), bench.degrade.describe()
    checks = [
        check_benchmark(images, [row for row in rows if row.set == images.name], degradation=degradation)
        for images in bench.sets
    ]
    wrong = [f"data.test.{check.set}: {finding}" for check in checks for finding in check.findings]
    if wrong and not keep_altered:
        raise UserError(
            "\n".join(wrong)
            + "\nno table is printed; allowed: the benchmark and its protocol as they are, or self_check=false, which "
            "calls such a set altered and puts no published rows beside it"
        )
    return checks


def _with_titles(scores: Sequence[ImageScore], checks: Sequence[BenchmarkCheck]) -> list[ImageScore]:
    titles = {check.set: check.title for check in checks}
    return [replace(score, set=titles[score.set]) for score in scores]


def _measure_costs(methods: Sequence[Method], place: Place) -> Mapping[tuple[MethodId, int], Cost]:
    """Measures each network at each of its scales, once for all checkpoints that share a label."""
    costs: dict[tuple[MethodId, int], Cost] = {}
    known: dict[tuple[str, int], Cost] = {}
    for method in methods:
        if not isinstance(method, NetworkMethod):
            continue
        for scale in method.scales:
            same = (method.label, scale)
            if same not in known:
                log.info("measuring the cost of %s at x%d", method.label, scale)
                cost = measure_cost(method.net, scale, device=str(place.device))
                known[same] = cost.repeated(SYMMETRIES) if method.self_ensemble else cost
            costs[method.id, scale] = known[same]
    return costs
