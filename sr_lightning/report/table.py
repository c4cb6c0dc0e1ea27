"""Tables of a comparison as blocks of text: ranking, further metrics, cost, unfinished runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sr_lightning.report.comparison import Comparison
from sr_lightning.report.entries import BICUBIC, At
from sr_lightning.report.ranking import Group, Ranked

TITLES = {"psnr_y": "PSNR-Y", "ssim_y": "SSIM-Y", "lpips": "LPIPS", "dists": "DISTS", "niqe": "NIQE"}
TITLES |= {"ms_ssim": "MS-SSIM", "lr_psnr": "LR-PSNR"}
_WIDE = 2  # number of sets with which SSIM still fits into 80 columns


@dataclass(frozen=True)
class Block:
    """One table: title, columns, and a row of text cells per method."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: Sequence[str] = ("method", "runs", "status")
    """Names of the columns that are not numeric."""


def metric_title(name: str) -> str:
    """`psnr_y` -> `PSNR-Y`."""
    return TITLES.get(name, name)


def quality(comparison: Comparison, group: Group, *, narrow: bool) -> Block:
    """Returns the ranking of a group, with bicubic last.

    Args:
        comparison: The comparison.
        group: One of its groups.
        narrow: Limit to 80 columns: SSIM only with few sets.
    """
    with_ssim = not narrow or len(group.sets) <= _WIDE
    is_several = len(group.ranked) > 1
    columns = ["#", "method", *(at.set for at in group.sets), *(["to the best", "better on"] if is_several else [])]
    rows = []
    for ranked, name in zip(group.ranked, comparison.group_names(group), strict=True):
        cells = [str(ranked.rank), name, *(_quality(ranked, at, with_ssim) for at in group.sets)]
        rows.append(cells + ([difference(ranked, group), _better(ranked)] if is_several else []))
    base = group.bicubic
    cells = [_pair(base[at].psnr_y, base[at].ssim_y, with_ssim) if at in base else "" for at in group.sets]
    rows.append(["", BICUBIC, *cells, *[""] * (2 * is_several)])
    by = f"ranked by {metric_title(group.metric)}, mean over sets" if is_several else ""
    title = f"x{group.scale}: {'PSNR-Y/SSIM-Y' if with_ssim else 'PSNR-Y'}"
    return Block(f"{title}; {by}" if by else title, columns, rows)


def further(comparison: Comparison, group: Group) -> Block | None:
    """Returns the table of perceptual and other metrics; None if no run has recorded any."""
    found = [(at, m) for m in comparison.metrics for at in group.sets]
    found = [(at, m) for at, m in found if any(r.contender.figure(at, m) is not None for r in group.ranked)]
    if not found:
        return None
    rows = [
        [str(ranked.rank), name, *(_metric(ranked, at, m) for at, m in found)]
        for ranked, name in zip(group.ranked, comparison.group_names(group), strict=True)
    ]
    base = group.bicubic
    rows.append(["", BICUBIC, *(_number(base[at].value(m), m) if at in base else "" for at, m in found)])
    heads = [f"{metric_title(m)} {at.set}" for at, m in found]
    arrows = ", ".join(
        f"{metric_title(m)}: {'more' if comparison.is_higher_better(m) else 'less'} is better"
        for m in dict.fromkeys(m for _, m in found)
    )
    return Block(f"x{group.scale}, further metrics; {arrows}", ["#", "method", *heads], rows)


def cost(comparison: Comparison, group: Group) -> Block:
    """Returns the table of what each method of a group costs, and the locations of its runs."""
    columns = ["#", "runs", "val gain", "params", "mult-adds", "ms/img", "min", "steps"]
    rows = []
    first = group.sets[0]
    for ranked in group.ranked:
        c = ranked.contender
        mults = c.mean(lambda run: multiply_adds(run.figures, group.scale))
        seconds = c.mean(lambda run: run.figures[first].seconds if first in run.figures else None)
        gain = c.mean(lambda run: run.gain)
        rows.append(
            [
                str(ranked.rank),
                c.label,
                "" if gain is None else f"{gain:+.3f}",
                count(c.mean(lambda run: run.params)),
                count(mults),
                "" if seconds is None else f"{seconds * 1000:.0f}",
                "" if (minutes := c.mean(lambda run: run.minutes)) is None else f"{minutes:.1f}",
                "" if (steps := c.mean(lambda run: run.steps)) is None else f"{steps:.0f}",
            ]
        )
    kept = [0, 1, *(i for i in range(2, len(columns)) if any(row[i] for row in rows))]
    return Block(f"x{group.scale}, cost", [columns[i] for i in kept], [[row[i] for i in kept] for row in rows])


def multiply_adds(figures: Any, scale: int) -> float | None:
    """Returns the multiply-adds of a method at a scale, which are the same for each set."""
    return next((f.multiply_adds for at, f in figures.items() if at.scale == scale and f.multiply_adds), None)


def unfinished(comparison: Comparison) -> Block:
    """Returns the table of runs without results."""
    rows = []
    for entry in comparison.unfinished:
        reason = entry.reason.partition(". ")[0] if entry.status == "failed" else entry.reason
        status = f"{entry.status}: {reason}" if reason else entry.status
        rows.append([comparison.label(entry), comparison.settings(entry), status])
    return Block("Not finished", ["runs", "method", "status"], rows)


def blocks(comparison: Comparison, *, narrow: bool) -> Iterator[Block]:
    """Yields all tables in order."""
    for group in comparison.groups:
        yield quality(comparison, group, narrow=narrow)
        if (block := further(comparison, group)) is not None:
            yield block
        yield cost(comparison, group)
    if comparison.unfinished:
        yield unfinished(comparison)


def difference(ranked: Ranked, group: Group) -> str:
    """Formats the difference to the best, `-0.12 [-0.20, -0.03] *`; `best` for the best of several."""
    if ranked.rank == 1:
        return "best" if len(group.ranked) > 1 else ""
    found = ranked.to_best
    if found is None or math.isnan(found.mean):
        return ""
    digits = 2 if group.metric == "psnr_y" and max(abs(found.mean), abs(found.high - found.low)) >= 0.02 else 4
    return found.text(unit="", digits=digits) + (" *" if ranked.is_significant else "")


def _better(ranked: Ranked) -> str:
    return "" if ranked.rank == 1 or not ranked.images else f"{ranked.better}/{ranked.images}"


def _quality(ranked: Ranked, at: At, with_ssim: bool) -> str:
    psnr, ssim = (ranked.contender.figure(at, name) for name in ("psnr_y", "ssim_y"))
    return "" if psnr is None else _pair(psnr, math.nan if ssim is None else ssim, with_ssim)


def _pair(psnr: float, ssim: float, with_ssim: bool) -> str:
    text = f"{psnr:.2f}"
    return f"{text}/{ssim:.4f}".replace("/0.", "/.") if with_ssim and not math.isnan(ssim) else text


def _metric(ranked: Ranked, at: At, name: str) -> str:
    value = ranked.contender.figure(at, name)
    return "" if value is None else _number(value, name)


def _number(value: float, name: str) -> str:
    return "" if math.isnan(value) else f"{value:.2f}" if name in ("psnr_y", "lr_psnr", "niqe") else f"{value:.4f}"


def count(n: float | None) -> str:
    """Formats a count, `28.3 K`."""
    if n is None:
        return ""
    for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if n >= factor:
            return f"{n / factor:.3g} {letter}"
    return f"{n:.0f}"
