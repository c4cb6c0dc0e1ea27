"""Plots of a comparison: learning curves, effects of config keys, quality vs. cost, perception vs. distortion."""

from __future__ import annotations

import io
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sr_lightning.report.comparison import Comparison
from sr_lightning.report.drawing import (
    COLOURS,
    GREY,
    MOST,
    STYLE,
    draw_front,
    draw_legend,
    draw_numbered,
    new_figure,
    new_panels,
)
from sr_lightning.report.entries import LOWER_IS_BETTER, Entry
from sr_lightning.report.ranking import Contender, Group
from sr_lightning.report.settings import differing, shown_value
from sr_lightning.report.table import metric_title, multiply_adds
from sr_lightning.runs.record import as_number
from sr_lightning.text import natural_key, single_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = ("-", "--", ":", "-.")
_MOST_PANELS = 12
_LONGEST = 34  # maximum characters of a legend entry


@dataclass(frozen=True)
class Plot:
    """A finished plot."""

    name: str
    """File name without suffix."""
    title: str
    png: bytes
    svg: bytes


def draw_plots(comparison: Comparison) -> Iterator[Plot]:
    """Draws every plot for which the runs have figures."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        for number, group in enumerate(comparison.groups, 1):
            repeated = sum(other.scale == group.scale for other in comparison.groups) > 1
            prefix = f"x{group.scale}_group{number}" if repeated else f"x{group.scale}"
            names = [
                _cut(name if len(name) <= _LONGEST else ranked.contender.label)
                for name, ranked in zip(comparison.group_names(group), group.ranked, strict=True)
            ]
            for name, title, figure in _of_group(comparison, group, names):
                yield _saved(f"{prefix}_{name}", f"x{group.scale}: {title}", figure)


def _of_group(comparison: Comparison, group: Group, names: Sequence[str]) -> Iterator[tuple[str, str, Figure]]:
    if any(run.curve for ranked in group.ranked for run in ranked.contender.runs):
        yield "curves", "gain over bicubic while training", _curves(group, names)
    keys = [key for key in differing([r.contender.first for r in group.ranked]) if key in comparison.names]
    keys = [key for key in keys if _has_several(group, key)][:_MOST_PANELS]
    if keys:
        yield (
            "effects",
            "runs by key, and their means",
            _effects(comparison, group, keys),
        )
    for name, title, value in _COSTS:
        costs = [r.contender.mean(lambda run, value=value: value(run, group.scale)) for r in group.ranked]  # type: ignore[misc]  # a lambda with a default
        if len({c for c in costs if c is not None}) > 1:
            yield name, f"quality against {title.partition(' (')[0]}", _quality_and_cost(group, names, costs, title)
    for metric in LOWER_IS_BETTER:
        values = [_mean_of(r.contender, group, metric) for r in group.ranked]
        if sum(v is not None for v in values) > 1:
            yield f"perception_{metric}", "perception against distortion", _perception(group, names, values, metric)


_COSTS: tuple[tuple[str, str, Callable[[Entry, int], float | None]], ...] = (
    ("parameters", "parameters", lambda run, scale: run.params),
    ("multiply_adds", "multiply-adds (one image of 1280x720)", lambda run, scale: multiply_adds(run.figures, scale)),
    ("inference", "time for an image (ms)", lambda run, scale: _milliseconds(run, scale)),
    ("training", "time of training (minutes)", lambda run, scale: run.minutes),
)


def _milliseconds(run: Entry, scale: int) -> float | None:
    found = [f.seconds * 1000 for at, f in run.figures.items() if at.scale == scale and f.seconds]
    return statistics.fmean(found) if found else None


def _curves(group: Group, names: Sequence[str]) -> Figure:
    figure, axes = new_figure()
    for i, (ranked, name) in enumerate(list(zip(group.ranked, names, strict=True))[:MOST]):
        style: dict[str, Any] = {"color": COLOURS[i % 7], "linestyle": _LINES[i // 7 % 4]}
        curves = [dict(run.curve) for run in ranked.contender.runs if run.curve]
        if not curves:
            continue
        for curve in curves if len(curves) > 1 else []:
            axes.plot(list(curve), list(curve.values()), alpha=0.35, linewidth=0.8, **style)
        steps = sorted(set.intersection(*map(set, curves)))
        means = [statistics.fmean(curve[step] for curve in curves) for step in steps]
        axes.plot(steps, means, linewidth=1.8, marker="o" if len(steps) < 3 else "", label=name, **style)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xlabel("step")
    axes.set_ylabel("gain over bicubic at validation (dB)")
    gains = [gain for r in group.ranked for run in r.contender.runs for _, gain in run.curve]
    low = _floor(gains)
    if low > min(gains):
        axes.set_ylim(bottom=low)
        axes.set_title("(lowest gains are cut off)", loc="right", fontsize=8, color="#555555")
    draw_legend(axes)
    return figure


def _floor(gains: Sequence[float]) -> float:
    """Lower end of the axis, so that one bad start does not flatten all curves."""
    ordered = sorted(gains)
    middle, high = ordered[len(ordered) // 2], ordered[-1]
    return min(0.0, max(ordered[0], middle - 4 * max(high - middle, 0.25)))


def _has_several(group: Group, key: str) -> bool:
    values = [shown_value(r.contender.first.settings, key) for r in group.ranked if r.contender.first.settings]
    return len(set(values)) > 1


def _effects(comparison: Comparison, group: Group, keys: Sequence[str]) -> Figure:
    """One panel per key: a point for each run, a line through the means per value; the other keys vary freely."""
    columns = min(len(keys), 3)
    rows = -(-len(keys) // columns)
    figure, grid = new_panels(rows, columns)
    for panel, key in zip(grid, keys, strict=False):
        points: dict[str, list[float]] = {}
        for ranked in group.ranked:
            for run in ranked.contender.runs:
                value = shown_value(run.settings, key)
                if value and (score := _mean_of(Contender("", [run]), group, group.metric)) is not None:
                    points.setdefault(value, []).append(score)
        _effect(panel, points)
        panel.set_xlabel(comparison.names[key])
    for panel in grid[len(keys) :]:
        panel.set_visible(False)
    grid[0].set_ylabel(_axis(group))
    return figure


def _effect(axes: Axes, points: dict[str, list[float]]) -> None:
    numbers = {value: as_number(value) for value in points}
    values = sorted(points, key=natural_key)
    if all(x is not None for x in numbers.values()):
        places = {value: float(x) for value, x in numbers.items() if x is not None}
        values.sort(key=lambda value: places[value])
        positive = [x for x in places.values() if x > 0]
        if min(places.values()) >= 0 and positive and max(positive) / min(positive) >= 8:
            if len(positive) == len(places):
                axes.set_xscale("log")
            else:
                axes.set_xscale("symlog", linthresh=min(positive), linscale=0.5)
        axes.set_xticks([places[value] for value in values], values, rotation=30 if len(values) > 4 else 0)
        axes.minorticks_off()
    else:
        places = {value: float(i) for i, value in enumerate(values)}
        axes.set_xticks(range(len(values)), [_cut(v, 16) for v in values], rotation=30 if len(values) > 3 else 0)
        axes.set_xlim(-0.5, len(values) - 0.5)
    for value in values:
        axes.plot([places[value]] * len(points[value]), points[value], "o", color=COLOURS[0], alpha=0.55, markersize=5)
    means = [statistics.fmean(points[value]) for value in values]
    axes.plot([places[value] for value in values], means, "-", color=COLOURS[1], linewidth=1.5)
    axes.plot([places[value] for value in values], means, "_", color=COLOURS[1], markersize=14, markeredgewidth=2)


def _quality_and_cost(group: Group, names: Sequence[str], costs: Sequence[float | None], title: str) -> Figure:
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

    figure, axes = new_figure()
    scores = [ranked.score for ranked in group.ranked]
    points = [(c, s) if c is not None and not math.isnan(s) else None for c, s in zip(costs, scores, strict=True)]
    known = [c for c in costs if c is not None and c > 0]
    if known and min(known) == min(c for c in costs if c is not None) and max(known) / min(known) > 5:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    sign = 1 if group.is_higher_better else -1
    draw_front(axes, points, lower_x=True, sign=sign)
    axes.set_xlabel(title)
    axes.set_ylabel(_axis(group))
    is_count = title.startswith(("parameters", "multiply"))
    axes.xaxis.set_major_formatter(EngFormatter(sep=" ") if is_count else FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    draw_numbered(axes, points, names)
    return figure


def _perception(group: Group, names: Sequence[str], values: Sequence[float | None], metric: str) -> Figure:
    """Perception-distortion plane of Blau and Michaeli 2018; axes oriented so that better is towards the lower left."""
    figure, axes = new_figure()
    distortion = [_mean_of(r.contender, group, "psnr_y") for r in group.ranked]
    points = [(x, y) if x is not None and y is not None else None for x, y in zip(distortion, values, strict=True)]
    axes.invert_xaxis()
    draw_front(axes, points, lower_x=False, sign=-1)
    axes.set_xlabel("PSNR-Y (dB): less distortion to the left")
    axes.set_ylabel(f"{metric_title(metric)}: better perception below")
    draw_numbered(axes, points, names)
    return figure


def _mean_of(contender: Contender, group: Group, metric: str) -> float | None:
    values = [contender.figure(at, metric) for at in group.sets]
    known = [v for v in values if v is not None and math.isfinite(v)]
    return statistics.fmean(known) if len(known) == len(values) and known else None


def _axis(group: Group) -> str:
    unit = " (dB)" if group.metric == "psnr_y" else ""
    return f"{metric_title(group.metric)}{unit}, {_cut(' + '.join(at.set for at in group.sets))}"


def _saved(name: str, title: str, figure: Figure) -> Plot:
    files = {}
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    for kind in ("png", "svg"):
        file = io.BytesIO()
        figure.savefig(file, format=kind, metadata={"Software": None} if kind == "png" else {"Date": None})
        files[kind] = file.getvalue()
    return Plot(name, title, files["png"], files["svg"])


def _cut(text: str, longest: int = _LONGEST) -> str:
    text = single_line(text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
