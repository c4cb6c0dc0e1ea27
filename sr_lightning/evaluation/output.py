"""How an evaluation is shown: on the terminal, as files in the run's folder, as images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from torch import Tensor

from sr_lightning.data.batch import EvalBatch
from sr_lightning.data.datasets import EvalImages
from sr_lightning.evaluation.results import write_results
from sr_lightning.evaluation.summary import Evaluation
from sr_lightning.evaluation.tables import COST, QUALITY, Record, latex, markdown, terminal, write_csv
from sr_lightning.image.color import write_png
from sr_lightning.runs.environment import environment
from sr_lightning.runs.run import Run
from sr_lightning.text import printable, shown

FILES = {"markdown": "results.md", "latex": "results.tex", "csv": "results.csv"}


def saver(folder: Path, method: str, images: EvalImages) -> Callable[[EvalBatch, Tensor], None]:
    """Writes each SR image as `images/<method>/<set>/x<scale>/<name>.png`.

    Args:
        folder: The run's.
        method: As a folder may be called.
        images: Where a name stands twice in a set (in its sub-folders), the image's number goes behind it.
    """
    sets = {found.name: found for found, _, _ in images.items}
    names = Counter((name, path.stem) for name, found in sets.items() for path in found.hr.paths)

    def save(batch: EvalBatch, sr: Tensor) -> None:
        target = folder / "pictures" / method / batch.set / f"x{batch.scale}"
        target.mkdir(parents=True, exist_ok=True)
        stem = Path(batch.name).stem
        stem = stem if names[batch.set, stem] == 1 else f"{stem}_{batch.key}"
        write_png(target / f"{stem}.png", sr[0].permute(1, 2, 0).cpu().numpy())

    return save


def write(evaluation: Evaluation, run: Run, *, formats: Sequence[str], objective: float | None, minutes: float) -> None:
    """Writes the tables, `per_image.csv`, and last `results.json`.

    Args:
        evaluation: What is written.
        run: Where.
        formats: Keys of `FILES`.
        objective: For sweeps.
        minutes: How long it took.
    """
    lines, columns = evaluation.lines, _columns(evaluation)
    texts = [*protocol(evaluation), *evaluation.notes, *evaluation.differences]
    if "markdown" in formats:
        below = "".join(f"\n{text}\n" for text in texts)
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
        extra={
            "objective": objective,
            **evaluation.details,
            "minutes": minutes,
            "run": environment(run.command) | {"hardware": evaluation.settings["hardware"]},
        },
    )


def show(evaluation: Evaluation, run: Run, *, formats: Sequence[str]) -> None:
    """Prints the tables, what they were measured with, and what may be said about the differences."""
    console = Console(highlight=False, markup=False)
    sources = list(dict.fromkeys(line.source for line in evaluation.lines if line.source))
    lines = [_cited(line, sources) for line in evaluation.lines]
    is_said = any(line.trained_on for line in lines)
    title = "PSNR (dB) and SSIM on Y; gain over bicubic" + (" and spread over seeds (±)" if evaluation.seeded else "")
    console.print(terminal(lines, (*QUALITY, "trained on") if is_said else QUALITY, title=title))
    if evaluation.metrics:
        own = [line for line in lines if line.kind != "published"]
        console.print(terminal(own, list(evaluation.metrics), title="Further metrics"))
    if evaluation.costs:
        cost = next(iter(evaluation.costs.values()))
        latency = "latency: 8 x a pass's median" if evaluation.settings["self_ensemble"] else "latency: median"
        title = f"Cost of one image of 1280x720 on {cost.device}, {cost.precision}; {latency}"
        console.print(terminal(_once_each(lines), COST, title=title))
    for text in [*protocol(evaluation), *evaluation.notes]:
        console.print(printable(text))
    for number, source in enumerate(sources, 1):
        console.print(f"[{number}] {source}", style="dim")
    if evaluation.differences:
        console.print()
    for text in evaluation.differences:
        console.print(printable(text))
    files = ["results.json", "per_image.csv", *(FILES[name] for name in FILES if name in formats)]
    console.print(f"\nrun folder  {shown(run.folder)}", soft_wrap=True)
    console.print(f"files       {', '.join(files)}")


def protocol(evaluation: Evaluation) -> list[str]:
    """How the numbers were made, in a line or two."""
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
    lines = evaluation.lines
    cost = [name for name in COST if name not in QUALITY] if evaluation.costs else []
    said = ["trained on"] if any(line.trained_on for line in lines) else []
    return [*QUALITY, *evaluation.metrics, *cost, *said, *(["source"] if any(line.source for line in lines) else [])]


def _cited(line: Record, sources: Sequence[str]) -> Record:
    """With the number of its source behind the training set."""
    if not line.source:
        return line
    return replace(line, trained_on=f"{line.trained_on} [{sources.index(line.source) + 1}]".strip())


def _once_each(lines: Sequence[Record]) -> list[Record]:
    """One line for each network and scale, without the sets."""
    own = {(line.scale, line.method): replace(line, set="") for line in lines if line.kind == "own"}
    return [own[key] for key in sorted(own, key=lambda key: key[0])]
