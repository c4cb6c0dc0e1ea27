"""Output of an evaluation: tables on the terminal, and files in the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from rich.console import Console

from sr_lightning.evaluation.escapes import markdown_text
from sr_lightning.evaluation.results import write_results
from sr_lightning.evaluation.summary import Evaluation
from sr_lightning.evaluation.tables import COST, FURTHER, QUALITY, Record, latex, markdown, terminal, write_csv
from sr_lightning.runs.environment import environment
from sr_lightning.runs.run import Run
from sr_lightning.text import shown, single_line

FILES = {"markdown": "results.md", "latex": "results.tex", "csv": "results.csv"}


def write_evaluation(evaluation: Evaluation, run: Run, *, formats: Sequence[str], minutes: float) -> None:
    """Writes the tables, then `per_image.csv`, and finally `results.json`.

    Args:
        evaluation: The evaluation.
        run: The run, whose folder is written to.
        formats: Keys of `FILES`.
        minutes: Duration of the evaluation.
    """
    lines, columns = evaluation.table_rows, _columns(evaluation)
    texts = [single_line(text) for text in (*protocol(evaluation), *evaluation.notes, *evaluation.differences)]
    if "markdown" in formats:
        below = "".join(f"\n{markdown_text(text)}\n" for text in texts)
        (run.folder / FILES["markdown"]).write_text(markdown(lines, columns) + below, encoding="utf-8")
    if "latex" in formats:
        below = "".join(f"% {text}\n" for text in texts)
        (run.folder / FILES["latex"]).write_text(latex(lines, columns) + below, encoding="utf-8")
    if "csv" in formats:
        write_csv(run.folder / FILES["csv"], lines)
    write_results(
        run.folder,
        evaluation.scores,
        facts=evaluation.facts,
        costs={key: asdict(cost) for key, cost in evaluation.costs.items()},
        protocol=evaluation.settings,
        metrics=evaluation.metrics,
        extra={
            "objective": evaluation.objective,
            **evaluation.details,
            "minutes": minutes,
            "run": environment(run.command) | {"hardware": evaluation.settings["hardware"]},
        },
    )


def print_evaluation(evaluation: Evaluation, run: Run, *, formats: Sequence[str]) -> None:
    """Prints the tables, the protocol and notes, and the differences with their intervals."""
    console = Console(highlight=False, markup=False)
    sources = list(dict.fromkeys(line.source for line in evaluation.table_rows if line.source))
    lines = [_cited(line, sources) for line in evaluation.table_rows]
    has_training = any(line.trained_on for line in lines)
    title = "PSNR (dB) and SSIM on Y; gain over bicubic" + (" and spread over seeds (±)" if evaluation.seeded else "")
    console.print(terminal(lines, (*QUALITY, "trained on") if has_training else QUALITY, title=title))
    if evaluation.metrics:
        own = [line for line in lines if line.kind != "published"]
        console.print(terminal(own, list(evaluation.metrics), title=FURTHER))
    if evaluation.costs:
        cost = next(iter(evaluation.costs.values()))
        latency = "latency: 8 x a pass's median" if evaluation.settings["self_ensemble"] else "latency: median"
        title = f"Cost of one image of 1280x720 on {cost.device}, {cost.precision}; {latency}"
        console.print(terminal(_costs_only(lines), COST, title=title))
    for text in [*protocol(evaluation), *evaluation.notes]:
        console.print(single_line(text))
    for number, source in enumerate(sources, 1):
        console.print(f"[{number}] {single_line(source)}", style="dim")
    if evaluation.differences:
        console.print()
    for text in evaluation.differences:
        console.print(single_line(text))
    files = ["results.json", "per_image.csv", *(FILES[name] for name in FILES if name in formats)]
    console.print(f"\nrun folder  {shown(run.folder)}", soft_wrap=True)
    console.print(f"files       {', '.join(files)}")


def protocol(evaluation: Evaluation) -> list[str]:
    """Describes the measurement protocol in one sentence."""
    settings = evaluation.settings
    ready = settings["lr_ready_made"]
    lr = f"LR by {settings['lr_kernel']}, 8 bit" + (f" (ready-made: {', '.join(ready)})" if ready else "")
    extras = ["x8 self-ensemble"] if settings["self_ensemble"] else []
    extras += [f"tiles of {settings['tile']} LR pixels"] if settings["tile"] else []
    return [
        "Protocol: Y (BT.601) of 8-bit RGB, shaved by the scale, mean over images; SSIM 11x11 Gaussian 1.5, valid "
        f"region; HR cropped to a multiple of the scale; {'; '.join([lr, *extras])}."
    ]


def _columns(evaluation: Evaluation) -> list[str]:
    lines = evaluation.table_rows
    cost = [name for name in COST if name not in QUALITY] if evaluation.costs else []
    training = ["trained on"] if any(line.trained_on for line in lines) else []
    return [
        *QUALITY,
        *evaluation.metrics,
        *cost,
        *training,
        *(["source"] if any(line.source for line in lines) else []),
    ]


def _cited(line: Record, sources: Sequence[str]) -> Record:
    """Appends the number of a row's source to its training set."""
    if not line.source:
        return line
    return replace(line, trained_on=f"{line.trained_on} [{sources.index(line.source) + 1}]".strip())


def _costs_only(lines: Sequence[Record]) -> list[Record]:
    """Returns one row per network and scale, without the sets."""
    measured = [line for line in lines if line.kind == "own" and line.latency_seconds is not None]
    own = {(line.scale, line.method): replace(line, set="") for line in measured}
    return [own[key] for key in sorted(own, key=lambda key: key[0])]
