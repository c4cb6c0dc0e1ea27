"""Grouping of methods that can be ranked against each other, and their ranking with confidence intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sr_lightning.evaluation.significance import SIGNIFICANT, Difference, holm, mean_difference
from sr_lightning.report.entries import (
    At,
    Entry,
    Figures,
    Image,
    same_images,
    same_protocol,
)
from sr_lightning.report.settings import repeats


@dataclass(frozen=True)
class Contender:
    """A contender in a ranking: one run, or several that differ only in their seed."""

    label: str
    runs: Sequence[Entry]

    @property
    def first(self) -> Entry:
        """First run; represents all of them where they do not differ."""
        return self.runs[0]

    def mean(self, value: Callable[[Entry], float | None]) -> float | None:
        """Returns the mean of a figure over the runs; None if no run has it."""
        known = [found for run in self.runs if (found := value(run)) is not None and not math.isnan(found)]
        return statistics.fmean(known) if known else None

    def figure(self, at: At, metric: str) -> float | None:
        """Returns the mean of a metric over the runs, on one set."""
        return self.mean(lambda run: run.figures[at].value(metric) if at in run.figures else None)


@dataclass(frozen=True)
class Ranked:
    """A contender with its rank."""

    contender: Contender
    rank: int
    score: float
    """Mean of the ranking metric over the sets; NaN if there is none."""
    to_best: Difference | None = None
    """Difference to the best contender; None for the best itself, and without per-image figures."""
    p: float = math.nan
    """p-value of `to_best`, adjusted for multiple comparisons (Holm)."""
    better: int = 0
    """Number of images, out of `images`, on which it is better than the best."""
    images: int = 0

    @property
    def is_significant(self) -> bool:
        """Whether it differs significantly from the best, adjusted for multiple comparisons."""
        return self.p < SIGNIFICANT


@dataclass(frozen=True)
class Group:
    """Methods scored with the same protocol on the same images, in ranking order."""

    scale: int
    sets: Sequence[At]
    """Sets that all members have, on which they are ranked."""
    metric: str
    is_higher_better: bool
    ranked: Sequence[Ranked]
    reason: str = ""
    """Why the members are not in an earlier group."""
    extra_sets: Sequence[At] = ()
    """Sets that only some members have."""

    @property
    def title(self) -> str:
        """Title, `x4: Set5, Set14`."""
        return f"x{self.scale}: {', '.join(at.set for at in self.sets)}"

    @property
    def bicubic(self) -> Mapping[At, Figures]:
        """Figures of the bicubic baseline."""
        return self.ranked[0].contender.first.bicubic


@dataclass
class _Draft:
    scale: int
    members: list[Contender]
    sets: list[At]
    reason: str = ""
    seen: list[At] = field(default_factory=list)


def rank(
    entries: Sequence[Entry], labels: Mapping[int, str], metric: str, *, is_higher_better: bool, seed: int = 0
) -> list[Group]:
    """Groups and ranks the finished entries.

    Args:
        entries: All entries.
        labels: `id` of an entry -> its display name.
        metric: Metric to rank by: `psnr_y`, `ssim_y` or a further metric.
        is_higher_better: Whether higher is better for that metric.
        seed: Seed of the bootstrap.

    Returns:
        The groups in the order of their entries, smaller scales first.
    """
    finished = [entry for entry in entries if entry.status == "done" and entry.figures]
    drafts: list[_Draft] = []
    for group in repeats(finished):
        contender = Contender(_label(group, labels), group)
        for scale in sorted({at.scale for at in group[0].figures}):
            _place(contender, scale, drafts)
    drafts.sort(key=lambda draft: draft.scale)
    return [_ranked(draft, metric, is_higher_better, seed) for draft in drafts]


def _label(group: Sequence[Entry], labels: Mapping[int, str]) -> str:
    names = list(dict.fromkeys(labels[id(entry)] for entry in group))
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} … {names[-1]}"


def _place(contender: Contender, scale: int, drafts: list[_Draft]) -> None:
    """Adds a contender to the first group of its scale with the same images and protocol, or to a new group."""
    own = [at for at in contender.first.figures if at.scale == scale]
    reason = ""
    for draft in (draft for draft in drafts if draft.scale == scale):
        other = draft.members[0].first
        shared = [at for at in draft.sets if at in own and same_images(contender.first, other, at)]
        differs = same_protocol(contender.first, other)
        if shared and not differs:
            draft.seen += [at for at in own if at not in draft.seen]
            draft.sets = shared
            draft.members.append(contender)
            return
        reason = reason or _why_apart(draft, own, differs)
    drafts.append(_Draft(scale, [contender], own, reason, list(own)))


def _why_apart(draft: _Draft, own: Sequence[At], differs: Sequence[str]) -> str:
    first = draft.members[0].label
    if differs:
        return f"another protocol than {first} (by {', '.join(differs)})"
    if not any(at in own for at in draft.sets):
        return f"other sets than {first}"
    return f"other images, or another LR, than {first} under the same name of the set"


def _ranked(draft: _Draft, metric: str, is_higher_better: bool, seed: int) -> Group:
    sign = 1 if is_higher_better else -1
    scores = [_score(member, draft.sets, metric) for member in draft.members]
    order = sorted(range(len(scores)), key=lambda i: math.inf if math.isnan(scores[i]) else -sign * scores[i])
    best = draft.members[order[0]]
    found = []
    for place, i in enumerate(order, 1):
        member = draft.members[i]
        ranked = Ranked(member, place, scores[i])
        if place > 1:
            difference = _difference(member, best, draft.sets, metric, seed)
            better, images = _better(member, best, draft.sets, metric, sign)
            ranked = replace(ranked, to_best=difference, better=better, images=images)
        found.append(ranked)
    adjusted = holm([math.nan if r.to_best is None else r.to_best.p for r in found])
    found = [replace(ranked, p=p) for ranked, p in zip(found, adjusted, strict=True)]
    extra = [at for at in draft.seen if at not in draft.sets]
    return Group(draft.scale, draft.sets, metric, is_higher_better, found, draft.reason, extra)


def _score(contender: Contender, sets: Iterable[At], metric: str) -> float:
    values = [contender.figure(at, metric) for at in sets]
    return statistics.fmean(values) if values and None not in values else math.nan  # type: ignore[arg-type]  # none is None


def matrix(contender: Contender, sets: Sequence[At], metric: str) -> list[list[list[float]]] | None:
    """Returns figures as sets x runs x images; None if a run has no per-image figures, or other images."""
    found: list[list[list[float]]] = []
    for at in sets:
        images = contender.first.images.get(at, {}).keys()
        if not images or any(run.images.get(at, {}).keys() != images for run in contender.runs):
            return None
        found.append([[_of(v, metric) for v in run.images[at].values()] for run in contender.runs])
    return found


def per_image(contender: Contender, at: At, metric: str) -> dict[Image, float]:
    """Returns each image's figure, averaged over the runs."""
    tables = [run.images[at] for run in contender.runs if at in run.images]
    if not tables:
        return {}
    return {i: statistics.fmean(_of(t[i], metric) for t in tables) for i in tables[0] if all(i in t for t in tables)}


def _of(values: Mapping[str, float], metric: str) -> float:
    return values.get(metric, math.nan)


def _difference(a: Contender, b: Contender, sets: Sequence[At], metric: str, seed: int) -> Difference | None:
    one, other = matrix(a, sets, metric), matrix(b, sets, metric)
    if one is None or other is None:
        return None
    return mean_difference(one, other, seed=seed)


def _better(a: Contender, b: Contender, sets: Sequence[At], metric: str, sign: int) -> tuple[int, int]:
    """Counts the images on which `a` is better than `b`, and the images that both have."""
    pairs = []
    for at in sets:
        best = per_image(b, at, metric)
        pairs += [(value, best[image]) for image, value in per_image(a, at, metric).items() if image in best]
    return sum(sign * one > sign * other for one, other in pairs), len(pairs)
