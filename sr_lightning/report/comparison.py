"""Complete comparison of runs: ranked groups, names, differing settings, unfinished runs, notes."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sr_lightning.evaluation.significance import too_few
from sr_lightning.report.entries import METRICS, Entry, entries_of, is_higher_better, own_metrics
from sr_lightning.report.ranking import Group, rank
from sr_lightning.report.settings import differing, short_names, shown_value
from sr_lightning.runs.record import RunRecord
from sr_lightning.text import single_line, unique_length


@dataclass(frozen=True)
class Comparison:
    """All data shown in tables, plots and the page."""

    entries: Sequence[Entry]
    labels: dict[int, str]
    """`id` of an entry -> its display name."""
    groups: Sequence[Group]
    metric: str
    findings: Sequence[str] = ()
    """Problems with the runs' files: torn, missing or unsafe content."""
    command: str = ""
    """Command line that repeats the comparison."""
    own_metrics: Mapping[str, bool] = field(default_factory=dict)
    """See `entries.own_metrics`."""

    @property
    def unfinished(self) -> list[Entry]:
        """Runs without results."""
        return [entry for entry in self.entries if entry.status != "done" or not entry.figures]

    @functools.cached_property
    def keys(self) -> list[str]:
        """Dotted config keys in which the trainings differ."""
        return differing(self.entries)

    @functools.cached_property
    def names(self) -> dict[str, str]:
        """Dotted key -> short name."""
        return short_names(self.keys)

    def label(self, entry: Entry) -> str:
        """Returns the display name of a run, or of a method of an evaluation."""
        return self.labels[id(entry)]

    def settings(self, entry: Entry, keys: Sequence[str] | None = None) -> str:
        """Settings that distinguish an entry, `beta=0.01 lr=0.001`; `keys` restricts which are listed."""
        found = ((self.names[key], shown_value(entry.settings, key)) for key in (self.keys if keys is None else keys))
        return " ".join(value if name == "model" else f"{name}={value}" for name, value in found if value)

    def group_names(self, group: Group) -> list[str]:
        """Names of a group's contenders: what differs within the group and the number of seeds, or else the label."""
        keys = [key for key in differing([r.contender.first for r in group.ranked]) if key in self.names]
        texts = [self.settings(r.contender.first, keys) or r.contender.label for r in group.ranked]
        texts = [
            f"{text} [{r.contender.label}]" if texts.count(text) > 1 else text
            for text, r in zip(texts, group.ranked, strict=True)
        ]
        counts = [len(r.contender.runs) for r in group.ranked]
        return [f"{text} ({n} seeds)" if n > 1 else text for text, n in zip(texts, counts, strict=True)]

    @property
    def metrics(self) -> list[str]:
        """Further metrics that at least one run has recorded."""
        found = {name for entry in self.entries for figures in entry.figures.values() for name in figures.more}
        return [name for name in METRICS if name in found] + sorted(found.difference(METRICS))

    def is_higher_better(self, metric: str) -> bool:
        """Returns whether higher is better for any metric."""
        return is_higher_better(metric, self.own_metrics)

    @property
    def notes(self) -> list[str]:
        """Notes below the table: how methods are ranked, and what the figures can show."""
        holds: dict[str, list[Group]] = {}
        for group in self.groups:
            for text in _group_notes(group):
                holds.setdefault(text, []).append(group)
        texts = [
            text if len(groups) == len(self.groups) else f"{', '.join(f'x{group.scale}' for group in groups)}: {text}"
            for text, groups in holds.items()
        ]
        texts += _set_notes(self.groups)
        if any(entry.split == "validation" for entry in self.entries):
            texts.append(
                "Figures of validation images, which chose the checkpoints, stand where a run had no test set."
            )
        return list(dict.fromkeys(texts))


def compare_records(records: Sequence[RunRecord], *, metric: str, command: str = "", seed: int = 0) -> Comparison:
    """Extracts the methods from the runs and ranks them.

    Args:
        records: The runs.
        metric: Metric to rank by: `psnr_y`, `ssim_y`, or a further metric.
        command: Command line that repeats the comparison.
        seed: Seed of the bootstrap.
    """
    own = own_metrics(records)
    entries = [entry for record in records for entry in entries_of(record, own)]
    labels = _labels(entries)
    findings = [single_line(text) for record in records for text in record.findings]
    groups = rank(entries, labels, metric, is_higher_better=is_higher_better(metric, own), seed=seed)
    return Comparison(entries, labels, groups, metric, findings, command, own)


def _labels(entries: Sequence[Entry]) -> dict[int, str]:
    """Labels entries by the shortest unique end of the folder's path; methods of an evaluation by name, if unique."""
    folders = list(dict.fromkeys(os.path.abspath(entry.folder) for entry in entries))
    lengths = {folder: unique_length(folder, folders) for folder in folders}
    parents: dict[str, int] = {}
    several = len({os.path.dirname(folder) for folder in folders}) > 1
    for folder, length in lengths.items():  # sibling jobs of a sweep are named alike
        least = 2 if several and os.path.basename(folder).isdecimal() else 1  # a bare number is ambiguous on its own
        parents[os.path.dirname(folder)] = max(length, least, parents.get(os.path.dirname(folder), 1))
    ends = {folder: "/".join(folder.split(os.sep)[-parents[os.path.dirname(folder)] :]) for folder in folders}
    methods = [entry.method for entry in entries if not entry.is_training]
    found = {}
    for entry in entries:
        end = ends[os.path.abspath(entry.folder)]
        if entry.is_training or not entry.figures:
            label = end
        elif methods.count(entry.method) == 1 or entry.seed is not None:
            label = entry.method
        else:
            label = f"{entry.method} ({end})"
        is_ensemble = entry.protocol.get("self_ensemble") == "True"
        found[id(entry)] = single_line(f"{label}+" if is_ensemble else label)  # as papers mark it
    return found


def _group_notes(group: Group) -> list[str]:
    texts = []
    if group.reason:
        names = ", ".join(r.contender.label for r in group.ranked)
        texts.append(f"{names} not ranked with the others: {group.reason}.")
    if group.extra_sets:
        names = ", ".join(at.set for at in group.extra_sets)
        texts.append(f"{names} not counted: some of these runs have no figures of it.")
    others = [r.to_best for r in group.ranked if r.to_best is not None and not math.isnan(r.to_best.low)]
    if not others:
        return texts
    kinds = sorted({d.interval for d in others if d.interval})
    how = " and ".join("Student's t" if kind == "t" else f"bootstrap ({kind})" for kind in kinds)
    several = f", adjusted for {len(others)} comparisons (Holm)" if len(others) > 1 else ""
    weighing = "; each set counts the same" if len(group.sets) > 1 else ""
    texts.append(f"intervals: 95 %, {how}, over images{weighing}; * p < 0.05{several}.")
    texts.append(_repeats_note(group))
    smallest = sorted(d.detectable for d in others if math.isfinite(d.detectable) and d.detectable > 0)
    if smallest:
        span = f"{smallest[0]:.3f}" if len(smallest) == 1 else f"{smallest[0]:.3f} to {smallest[-1]:.3f}"
        unit = " dB" if group.metric in ("psnr_y", "lr_psnr") else ""
        texts.append(
            f"the smallest true difference to the best that these images show in four of five cases: {span}{unit}."
        )
    return texts


def _set_notes(groups: Sequence[Group]) -> list[str]:
    """Notes on what the columns mean, and on sets that are too small for a difference that is shown."""
    if all(len(group.ranked) < 2 for group in groups):
        return []
    claims = {
        group.title.partition(": ")[2]: ranked.to_best.n
        for group in groups
        for ranked in group.ranked
        if ranked.to_best is not None and ranked.to_best.excludes_zero
    }
    texts = [f"{text.strip('()')}." for text in too_few(claims)]
    return ["better on: images on which a method is better than the best one.", *texts]


def _repeats_note(group: Group) -> str:
    counts = [len(r.contender.runs) for r in group.ranked if r.contender.first.is_training]
    if counts and max(counts) > 1:
        return "seeds are a second level beside the images: their spread is in the intervals of what was trained twice."
    return "one seed each: the intervals speak of images like these, not of another training."
