"""Result tables for the terminal, Markdown, LaTeX and CSV, all from the same records."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Group
from rich.text import Text

from sr_lightning.evaluation.escapes import latex_text, markdown_text
from sr_lightning.evaluation.scores import BICUBIC, MethodId, SetScore
from sr_lightning.text import Table, single_line, spreadsheet_cell

Kind = Literal["baseline", "own", "published"]


@dataclass(frozen=True)
class Record:
    """One row of a table: one method on one set at one scale; None means unknown or not applicable."""

    set: str
    scale: int
    method: str
    kind: Kind = "own"
    psnr_y: float | None = None
    """Infinite if an image is reproduced exactly."""
    ssim_y: float | None = None
    psnr_y_std: float | None = None
    """Standard deviation over seeds."""
    ssim_y_std: float | None = None
    exact_images: int = 0
    """Number of images that are reproduced exactly."""
    psnr_y_without_exact: float | None = None
    """Mean PSNR of the other images."""
    gain: float | None = None
    lowest_gain: float | None = None
    seconds: float | None = None
    params: int | str | None = None
    trained_on: str = ""
    source: str = ""
    """Publication of the figures; empty if measured here."""
    multiply_adds: int | None = None
    latency_seconds: float | None = None
    peak_memory_bytes: int | None = None
    more: Mapping[str, float | None] = field(default_factory=dict)


def records(rows: Iterable[SetScore], facts: Mapping[MethodId, Mapping[str, Any]]) -> list[Record]:
    """Converts measured scores to table rows.

    Args:
        rows: Scores, with bicubic's first in each set.
        facts: Further facts about each method: `params`, `trained_on`.
    """
    return [_record(row, facts.get(row.method, {})) for row in rows]


def _record(row: SetScore, facts: Mapping[str, Any]) -> Record:
    is_baseline = row.method == BICUBIC
    return Record(
        set=row.set,
        scale=row.scale,
        method=row.method.label,
        kind="baseline" if is_baseline else "own",
        psnr_y=row.psnr_y,
        ssim_y=row.ssim_y,
        exact_images=len(row.exact),
        psnr_y_without_exact=row.finite_psnr_y if math.isfinite(row.finite_psnr_y) else None,
        gain=None if is_baseline else row.gain,
        lowest_gain=None if is_baseline else row.lowest_gain,
        seconds=row.seconds,
        params=facts.get("params", 0),
        trained_on=facts.get("trained_on", ""),
        more=row.more,
    )


Column = Callable[[Record], str]
COLUMNS: dict[str, Column] = {
    "PSNR-Y": lambda r: _psnr(r),
    "SSIM-Y": lambda r: _number(r.ssim_y, 4, None),
    "gain": lambda r: "" if r.gain is None or math.isnan(r.gain) else f"{r.gain:+.2f}",
    "least": lambda r: "" if r.lowest_gain is None or math.isnan(r.lowest_gain) else f"{r.lowest_gain:+.2f}",
    "params": lambda r: _count(r.params),
    "ms/img": lambda r: "" if r.seconds is None else f"{r.seconds * 1000:.0f}",
    "multiply-adds": lambda r: "" if r.multiply_adds is None else f"{r.multiply_adds / 1e9:.1f} G",
    "latency": lambda r: "" if r.latency_seconds is None else f"{r.latency_seconds * 1000:.0f} ms",
    "memory": lambda r: "" if r.peak_memory_bytes is None else f"{r.peak_memory_bytes / 2**20:.0f} MiB",
    "trained on": lambda r: r.trained_on,
    "source": lambda r: r.source or ("here" if r.kind == "own" else ""),
}
QUALITY = ("PSNR-Y", "SSIM-Y", "gain", "params")
TRAINING = ("PSNR-Y", "SSIM-Y", "gain", "least", "params", "ms/img")
COST = ("params", "multiply-adds", "latency", "memory")
FURTHER = "Further metrics"
TITLE = "PSNR (dB) and SSIM on Y; gain over bicubic: mean and least"
_TEXTS = ("set", "method", "trained on", "source")


def terminal(rows: Sequence[Record], columns: Sequence[str], *, title: str = TITLE) -> Group:
    """Returns a table of 80 columns; published rows are set apart, below ours."""
    names = ["set", "method", *columns]
    table = Table(names, [name for name in names if name not in _TEXTS])
    for _, group in _groups(rows):
        before: Kind | None = None
        for i, row in enumerate(group):
            head = set_and_scale(row) if i == 0 else "published" if row.kind == "published" != before else ""
            table.add(
                *map(single_line, (head, row.method, *_cells(row, columns))),
                style="dim italic" if row.kind == "published" else "",
                ends_section=i == len(group) - 1,
            )
            before = row.kind
    return Group(Text(f"{title}\n"), table, Text())


def markdown(rows: Sequence[Record], columns: Sequence[str]) -> str:
    """Returns a table in GitHub-flavoured Markdown, with published rows in italics."""
    names = ["set", "method", *columns]
    lines = [f"| {' | '.join(names)} |", f"| {' | '.join('---' if n in _TEXTS else '---:' for n in names)} |"]
    for row in rows:
        cells = [markdown_text(text) for text in (set_and_scale(row), row.method, *_cells(row, columns))]
        if row.kind == "published":
            cells = [f"*{cell}*" if cell else "" for cell in cells]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def latex(rows: Sequence[Record], columns: Sequence[str]) -> str:
    r"""Returns a booktabs `tabular`, with published rows in italics."""
    names = ["set", "method", *columns]
    lines = [
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{''.join('l' if name in _TEXTS else 'r' for name in names)}}}",
        r"\toprule",
        " & ".join(latex_text(name) for name in names) + r" \\",
    ]
    for _, group in _groups(rows):
        lines.append(r"\midrule")
        for i, row in enumerate(group):
            cells = [
                latex_text(text) for text in (set_and_scale(row) if i == 0 else "", row.method, *_cells(row, columns))
            ]
            if row.kind == "published":
                cells = [rf"\textit{{{cell}}}" if cell else "" for cell in cells]
            lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def write_csv(path: Path, rows: Sequence[Record]) -> None:
    """Writes every field in full precision, for a spreadsheet."""
    plain = [asdict(row) for row in rows]
    for row in plain:
        row.update(row.pop("more"))
        row.update({name: spreadsheet_cell(value) for name, value in row.items()})
    names = dict.fromkeys(name for row in plain for name in row)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(names))
        writer.writeheader()
        writer.writerows(plain)


def set_and_scale(row: Record) -> str:
    """Formats set and scale, `Set5 x4`."""
    return f"{row.set} x{row.scale}".strip()


def _groups(rows: Sequence[Record]) -> Iterator[tuple[str, list[Record]]]:
    return ((name, list(group)) for name, group in itertools.groupby(rows, set_and_scale))


def _cells(row: Record, columns: Sequence[str]) -> list[str]:
    """Returns the cells of a row; columns that are not in `COLUMNS` are further metrics."""
    return [COLUMNS[name](row) if name in COLUMNS else _metric(row, name) for name in columns]


def _metric(row: Record, name: str) -> str:
    return metric_text(row.more[name]) if name in row.more else ""


def metric_text(value: float | None) -> str:
    """Formats a further metric, whose size is unknown."""
    if value is None or math.isnan(value):
        return "n/a"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def _psnr(row: Record) -> str:
    """Formats PSNR, `inf (31.20)`: with exact images, the mean of the others is in brackets."""
    if row.psnr_y is None or math.isfinite(row.psnr_y):
        return _number(row.psnr_y, 2, row.psnr_y_std)
    others = _number(row.psnr_y_without_exact, 2, row.psnr_y_std)
    return f"inf ({others})" if others else "inf"


def _number(value: float | None, digits: int, spread: float | None) -> str:
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    return text if spread is None or not math.isfinite(spread) else f"{text}±{spread:.{digits}f}"


def _count(n: int | str | None) -> str:
    if n is None or isinstance(n, str):
        return n or ""
    return f"{n / 1e6:.2f} M" if n >= 1e6 else f"{n / 1e3:.1f} K" if n else "0"
