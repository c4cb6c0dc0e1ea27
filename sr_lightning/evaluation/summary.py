"""Summary of an evaluation: table rows, spread over seeds, differences with confidence intervals, notes."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sr_lightning.data.benchmarks.reference import PublishedRow, published_rows
from sr_lightning.evaluation.benchmark_check import BenchmarkCheck
from sr_lightning.evaluation.method import Method
from sr_lightning.evaluation.scores import BICUBIC, ImageScore, MethodId, summarise
from sr_lightning.evaluation.sheet import Pixels
from sr_lightning.evaluation.significance import Difference, mean_difference, over_seeds, too_few
from sr_lightning.evaluation.tables import Record, records
from sr_lightning.inference.cost import Cost
from sr_lightning.metrics.quality import QualityMetric, UnavailableMetric
from sr_lightning.text import counted, enumerated


@dataclass(frozen=True)
class Comparison:
    """Advantage of one method over another on one set at one scale, in dB of PSNR on Y."""

    set: str
    scale: int
    method: str
    than: str
    difference: Difference

    def __str__(self) -> str:
        d = self.difference
        if d.low == d.high == 0:
            return f"{self.set} x{self.scale}: {self.method} gives the same as {self.than}, on {counted(d.n, 'image')}"
        sign = -1 if d.mean < 0 else 1
        low, high = sorted((sign * d.low, sign * d.high))
        digits = 2 if max(abs(low), abs(high)) >= 0.01 else 4
        size, interval = f"{abs(d.mean):.{digits}f} dB", f"[{low:.{digits}f}, {high:.{digits}f}]"
        basis = f"({d.confidence * 100:.0f} %, {counted(d.n, 'image')})"
        where = f"{self.set} x{self.scale}: {self.method} is"
        if low <= 0:
            side = "below" if sign < 0 else "above"
            return f"{where} {size} {side} {self.than} {interval} {basis}, but the interval contains 0: not significant"
        return f"{where} {'worse' if sign < 0 else 'better'} than {self.than} by {size} {interval} {basis}"


@dataclass(frozen=True)
class Evaluation:
    """The scores of all methods on all images, with everything else that tables and files show."""

    scores: Sequence[ImageScore]
    methods: Sequence[Method]
    checks: Sequence[BenchmarkCheck]
    costs: Mapping[tuple[MethodId, int], Cost]
    metrics: Mapping[str, QualityMetric | UnavailableMetric]
    settings: Mapping[str, Any]
    """The variable part of the protocol."""
    show_published: bool
    seed: int
    """Seed of the bootstrap."""
    non_finite: Mapping[tuple[MethodId, str, int], Sequence[str]] = field(default_factory=dict)
    """See `scores.non_finite`; `scores` excludes these."""
    diagnoses: Sequence[str] = ()
    """Diagnoses of methods that are far below bicubic."""
    panels: Mapping[tuple[str, int, int], Mapping[str, Pixels]] = field(default_factory=dict)
    """`ImageScore.image` -> crops of the first method's images for a logger; each rank holds its own share."""

    @property
    def objective(self) -> float | None:
        """Mean gain of the first method over its sets and scales, in dB; None if there is none."""
        gains = [row.gain for row in summarise(self.scores) if self.methods and row.method == self.methods[0].id]
        finite = [gain for gain in gains if math.isfinite(gain)]  # a set with only exact images has no gain
        return statistics.fmean(finite) if finite else None

    @functools.cached_property
    def comparisons(self) -> list[Comparison]:
        """The first method compared with each other method and with bicubic, on each set at each scale.

        Sets of one image are left out, as they give no interval. Images that a method reproduces exactly are excluded.
        """
        labels = [method.label for method in self.methods]
        groups: dict[tuple[str, int], dict[str, dict[str | None, dict[int, float]]]] = {}
        for score in self.scores:
            table = groups.setdefault((score.set, score.scale), {})
            run = table.setdefault(score.method.label, {}).setdefault(score.method.source, {})
            run[score.key] = score.psnr_y
        found = []
        for (name, scale), table in groups.items():
            # The runs of each method, which differ in their seed, with the images in order.
            psnr = {label: [[run[key] for key in sorted(run)] for run in table[label].values()] for label in table}
            first, *others = [label for label in dict.fromkeys([*labels, BICUBIC.label]) if label in psnr]
            for other in others:
                difference = mean_difference([psnr[first]], [psnr[other]], seed=self.seed)
                if not math.isnan(difference.low):
                    found.append(Comparison(name, scale, first, other, difference))
        return found

    @property
    def differences(self) -> list[str]:
        """The comparisons in words, and that those that tell two methods apart are over too few images."""
        claims = [c for c in self.comparisons if c.than != BICUBIC.label and c.difference.excludes_zero]
        return [*map(str, self.comparisons), *too_few({c.set: c.difference.n for c in claims})]

    @property
    def facts(self) -> dict[MethodId, dict[str, Any]]:
        """Further entries of each method's rows in `results.json`."""
        return {BICUBIC: {}, **{method.id: method.facts for method in self.methods}}

    @functools.cached_property
    def table_rows(self) -> list[Record]:
        """Rows of the tables: bicubic, ours (seeds averaged), and published ones."""
        benchmarks = {check.title: check.benchmark for check in self.checks if check.benchmark}
        groups: dict[tuple[str, int], dict[str, list[Record]]] = {}
        rows = summarise(self.scores)
        for row, record in zip(rows, records(rows, self.facts), strict=True):
            labels = groups.setdefault((row.set, row.scale), {})
            labels.setdefault(record.method, []).append(self._with_costs(record, row.method))
        found = []
        for (name, scale), labels in groups.items():
            found += [_over_seeds(members) for members in labels.values()]
            if self.show_published and name in benchmarks:
                found += [_published(name, scale, row) for row in published_rows(benchmarks[name], scale)]
        return found

    @property
    def seeded(self) -> list[Record]:
        """Rows that average several checkpoints."""
        return [line for line in self.table_rows if line.psnr_y_std is not None]

    def _with_costs(self, record: Record, method: MethodId) -> Record:
        cost = self.costs.get((method, record.scale))
        missing = {metric: None for metric, found in self.metrics.items() if isinstance(found, UnavailableMetric)}
        more = {metric: {**record.more, **missing}[metric] for metric in self.metrics}
        if cost is None:
            return replace(record, more=more)
        return replace(
            record,
            more=more,
            multiply_adds=cost.multiply_adds,
            latency_seconds=cost.latency_seconds,
            peak_memory_bytes=cost.peak_memory_bytes,
        )

    @property
    def notes(self) -> list[str]:
        """Remarks below the table besides the protocol."""
        notes = [f"{check.title}: {'; '.join(check.findings)}" for check in self.checks if check.findings]
        notes += [text for row in summarise(self.scores) if (text := row.exactness)]
        notes += [note for method in self.methods for note in method.notes]
        notes += [*self.diagnoses, *self.refusals]
        for name, metric in self.metrics.items():
            if isinstance(metric, UnavailableMetric):
                notes.append(f"{name}: n/a, {metric.reason}")
            else:
                notes.append(
                    f"{name} ({'higher' if metric.higher_is_better else 'lower'} is better): {metric.protocol}"
                    + self._without(name)
                )
        return notes

    def _without(self, metric: str) -> str:
        """Names images for which a metric is undefined, and which are not in its mean."""
        names = list(dict.fromkeys(f"{s.set}/{s.name}" for s in self.scores if math.isnan(s.more.get(metric, 0.0))))
        return f"; without {enumerated(names, most=1)}, too small for it" if names else ""

    @property
    def refusals(self) -> list[str]:
        """Rows that are left out, with the reasons."""
        told = []
        for (method, name, scale), images in self.non_finite.items():
            where = f"{method.label} has no row for {name} x{scale}"
            told.append(f"{where}: its output for {enumerated(images, most=1)} is not finite (NaN or infinity)")
        return told

    @property
    def details(self) -> dict[str, Any]:
        """Further entries of results.json."""
        return {
            "sets": [asdict(check) for check in self.checks],
            "comparisons": [
                {"set": c.set, "scale": c.scale, "method": c.method, "than": c.than, **asdict(c.difference)}
                for c in self.comparisons
            ],
            "seeds": [asdict(line) for line in self.seeded],
            "published": [asdict(line) for line in self.table_rows if line.kind == "published"],
            "notes": self.notes,
            "refused": self.refusals,
        }


def _over_seeds(members: Sequence[Record]) -> Record:
    """Merges checkpoints that differ only in their seed into one row."""
    first, n = members[0], len(members)
    if n == 1:
        return first
    finite = [m.psnr_y_without_exact if m.exact_images else m.psnr_y for m in members]
    psnr = over_seeds([value for value in finite if value is not None])
    exact = max(m.exact_images for m in members)
    ssim = over_seeds([m.ssim_y for m in members if m.ssim_y is not None])
    return replace(
        first,
        method=f"{first.method} ({n} seeds)",
        psnr_y=math.inf if exact else psnr.mean,
        exact_images=exact,
        psnr_y_without_exact=psnr.mean if math.isfinite(psnr.mean) else None,
        psnr_y_std=psnr.std,
        ssim_y=ssim.mean,
        ssim_y_std=ssim.std,
        gain=statistics.fmean(m.gain for m in members if m.gain is not None),
        lowest_gain=min(m.lowest_gain for m in members if m.lowest_gain is not None),
        more={name: _mean([m.more[name] for m in members]) for name in first.more},
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return statistics.fmean(known) if known else None


def _published(name: str, scale: int, row: PublishedRow) -> Record:
    return Record(
        set=name,
        scale=scale,
        method=row.method,
        kind="published",
        psnr_y=row.psnr,
        ssim_y=row.ssim,
        params=row.params,
        trained_on="" if row.training == "-" else row.training,
        source=row.source,
    )
