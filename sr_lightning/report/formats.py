"""Tables of a comparison for the terminal, and in Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

from sr_lightning.evaluation.escapes import latex_text, markdown_text
from sr_lightning.report.comparison import Comparison
from sr_lightning.report.entries import At, Entry
from sr_lightning.report.ranking import Ranked
from sr_lightning.report.settings import shown_value
from sr_lightning.report.table import blocks
from sr_lightning.text import Table, spreadsheet_cell


def show(comparison: Comparison) -> None:
    """Prints the tables and the notes, 80 columns wide."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for block in blocks(comparison, narrow=True):
        table = Table(block.columns, [name for name in block.columns if name not in block.texts])
        for row in block.rows:
            table.add(*row, style="bold" if row[0] == "1" and "to the best" in block.columns else "")
        console.print(f"\n{block.title}\n", style="dim")
        console.print(table)
    if comparison.notes or comparison.findings:
        console.print()
    for text in [*comparison.notes, *comparison.findings]:
        console.print(text)


def markdown(comparison: Comparison) -> str:
    """Returns all tables in GitHub-flavoured Markdown."""
    parts = []
    for block in blocks(comparison, narrow=False):
        rules = ["---" if name in block.texts else "---:" for name in block.columns]
        lines = [f"**{markdown_text(block.title)}**", ""]
        lines += [f"| {' | '.join(markdown_text(name) for name in block.columns)} |", f"| {' | '.join(rules)} |"]
        lines += [f"| {' | '.join(markdown_text(cell) for cell in row)} |" for row in block.rows]
        parts.append("\n".join(lines) + "\n")
    parts += [f"{markdown_text(text)}\n" for text in [*comparison.notes, *comparison.findings]]
    return "\n".join(parts)


def latex(comparison: Comparison) -> str:
    r"""Returns a booktabs `tabular` for each table, with the best method in bold."""
    parts = [r"% \usepackage{booktabs}"]
    for block in blocks(comparison, narrow=False):
        lines = [
            f"% {latex_text(block.title)}",
            rf"\begin{{tabular}}{{{''.join('l' if name in block.texts else 'r' for name in block.columns)}}}",
            r"\toprule",
            " & ".join(map(latex_text, block.columns)) + r" \\",
            r"\midrule",
        ]
        for row in block.rows:
            cells = [latex_text(cell) for cell in row]
            if row[0] == "1" and "to the best" in block.columns:
                cells = [rf"\textbf{{{cell}}}" if cell else "" for cell in cells]
            lines.append(" & ".join(cells) + r" \\")
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}"]))
    parts += [f"% {latex_text(text)}" for text in [*comparison.notes, *comparison.findings]]
    return "\n\n".join(parts) + "\n"


def spreadsheet(comparison: Comparison) -> str:
    """Returns `rows` as CSV."""
    columns, lines = rows(comparison)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(lines)
    return text.getvalue()


def rows(comparison: Comparison) -> tuple[list[str], list[list[Any]]]:
    """Returns the columns, and one line per run and set in full precision, plus one per run without results.

    Texts are safe to open in a spreadsheet; missing values are None.

    Texts are safe in a spreadsheet; what a run does not have is None.
    """
    lines: list[dict[str, Any]] = []
    for group in comparison.groups:
        for ranked in group.ranked:
            for run in ranked.contender.runs:
                for at in (at for at in run.figures if at.scale == group.scale):
                    lines.append(_line(comparison, ranked, run, at))
    for entry in comparison.unfinished:
        settings = {key: shown_value(entry.settings, key) for key in comparison.keys}
        lines.append(
            {
                "run": comparison.label(entry),
                "folder": str(entry.folder),
                "method": entry.method,
                **settings,
                "status": entry.status,
                "reason": entry.reason,
            }
        )
    names = list(dict.fromkeys(name for line in lines for name in line))
    return [spreadsheet_cell(name) for name in names], [
        [spreadsheet_cell(line.get(name)) for name in names] for line in lines
    ]


def _line(comparison: Comparison, ranked: Ranked, run: Entry, at: At) -> dict[str, Any]:
    figures, to_best = run.figures[at], ranked.to_best
    return {
        "run": comparison.label(run),
        "folder": str(run.folder),
        "method": run.method,
        "checkpoint": run.checkpoint,
        **{key: shown_value(run.settings, key) for key in comparison.keys},
        "seed": run.seed,
        "status": run.status,
        "set": at.set,
        "scale": at.scale,
        "images": figures.images,
        "psnr_y": figures.psnr_y,
        "ssim_y": figures.ssim_y,
        **figures.more,
        "rank": ranked.rank,
        "score": ranked.score,
        "to_best": to_best and to_best.mean,
        "to_best_low": to_best and to_best.low,
        "to_best_high": to_best and to_best.high,
        "p_holm": ranked.p,
        "better_than_best": ranked.better,
        "of_images": ranked.images,
        "val_gain": run.gain,
        "params": run.params,
        "multiply_adds": figures.multiply_adds,
        "latency_seconds": figures.latency,
        "seconds_per_image": figures.seconds,
        "minutes": run.minutes,
        "steps": run.steps,
    }
