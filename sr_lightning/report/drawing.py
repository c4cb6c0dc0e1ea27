"""Plot style and primitives: colours, headless figures, the Pareto front, numbered points without overlaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito 2008: distinguishable with every kind of colour vision. Yellow is left out, as it is invisible on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#888888"
MOST = 20  # maximum number of lines in a plot
STYLE: dict[Any, Any] = {  # newer releases have a special type for its keys
    "text.parse_math": False,  # names are shown literally
    "svg.hashsalt": "sr_lightning",  # makes SVG files reproducible
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
}


def new_figure() -> tuple[Figure, Axes]:
    """Returns a figure with room for a legend beside it, without a display and without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def new_panels(rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    """Returns a figure with a grid of panels that share the y-axis, row by row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(3.0 * columns, 4.6), 2.9 * rows), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)


def draw_legend(axes: Axes) -> None:
    """Draws the legend beside the plot, where it hides nothing."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)


def draw_front(axes: Axes, points: Sequence[tuple[float, float] | None], *, lower_x: bool, sign: int) -> None:
    """Draws the Pareto front of the points."""
    front = pareto_front([p for p in points if p is not None], lower_x=lower_x, lower_y=sign < 0)
    if len(front) > 1:
        axes.plot(*zip(*front, strict=True), color=GREY, linewidth=1.2, linestyle="--", zorder=1, label="front")


def pareto_front(points: Sequence[tuple[float, float]], *, lower_x: bool, lower_y: bool) -> list[tuple[float, float]]:
    """Returns the Pareto-optimal points, sorted by x.

    Args:
        points: (x, y).
        lower_x: Whether lower x is better.
        lower_y: Whether lower y is better.
    """
    a, b = (1 if lower_x else -1), (1 if lower_y else -1)
    found: list[tuple[float, float]] = []
    for x, y in sorted(set(points), key=lambda p: (a * p[0], b * p[1])):
        if not found or b * y < b * found[-1][1]:
            found.append((x, y))
    return sorted(found)


def draw_numbered(axes: Axes, points: Sequence[tuple[float, float] | None], names: Sequence[str]) -> None:
    """Draws points numbered by rank, with labels placed to avoid overlaps, and names in the legend."""
    figure = axes.figure
    for i, (point, name) in enumerate(list(zip(points, names, strict=True))[:MOST]):
        if point is not None:
            marker = "osD^v<>"[i // 7 % 7]
            axes.plot(*point, marker, color=COLOURS[i % 7], markersize=7, label=f"{i + 1}  {name}", zorder=3)
    axes.margins(0.08, 0.12)
    draw_legend(axes)
    figure.canvas.draw()
    taken: list[tuple[float, float]] = [tuple(axes.transData.transform(p)) for p in points[:MOST] if p is not None]
    for i, point in enumerate(points[:MOST]):
        if point is None:
            continue
        x, y = axes.transData.transform(point)
        offsets = [(r * math.cos(a), r * math.sin(a)) for r in (15, 24, 34) for a in (0.8, 2.3, -0.8, -2.3, 1.6, -1.6)]
        dx, dy = max(
            offsets,
            key=lambda o, x=x, y=y: min(_room(o, x, y, taken), 14.0) - 0.1 * math.hypot(*o),  # type: ignore[misc]  # mypy infers no type of a lambda with defaults
        )
        taken.append((x + dx, y + dy))
        axes.annotate(
            str(i + 1),
            point,
            (dx * 72 / figure.dpi, dy * 72 / figure.dpi),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            zorder=4,
        )


def _room(offset: tuple[float, float], x: float, y: float, taken: Sequence[tuple[float, float]]) -> float:
    """Distance in pixels to the nearest drawn element."""
    return min(math.hypot(x + offset[0] - a, y + offset[1] - b) for a, b in taken)
