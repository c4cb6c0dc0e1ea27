"""Command `compare`: ranks runs against each other, in a table, plots and a page with their images."""

from __future__ import annotations

import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_lightning.cli.main import run_command
from sr_lightning.config.compare import CompareConfig
from sr_lightning.errors import UserError
from sr_lightning.text import nearest, shown, single_line

if TYPE_CHECKING:
    from sr_lightning.report.comparison import Comparison
    from sr_lightning.report.images import Versions
    from sr_lightning.report.output import Output
    from sr_lightning.report.plots import Plot


def compare(config: CompareConfig) -> None:
    """Prints the table, and writes tables, plots and the page to one folder.

    Args:
        config: The validated config.

    Raises:
        UserError: Nothing can be read from the runs, or the folder contains files not created by compare.
    """
    from sr_lightning.report import formats
    from sr_lightning.report.comparison import compare_records
    from sr_lightning.report.output import Output
    from sr_lightning.runs.find import find_runs
    from sr_lightning.runs.record import read_run

    folders = find_runs(config.runs)
    output = Output(_folder(config))
    records = [read_run(folder) for folder in folders]
    found = compare_records(records, metric=config.rank_by, command=_command(config), seed=config.seed)
    if not found.groups and not found.unfinished:
        raise UserError("\n".join(["runs: nothing can be read of these runs", *found.findings]))
    scores = [ranked.score for group in found.groups for ranked in group.ranked]
    if config.rank_by not in ("psnr_y", "ssim_y") and scores and all(map(math.isnan, scores)):
        ways = nearest(config.rank_by, ["psnr_y", "ssim_y", *found.metrics])
        raise UserError(f"rank_by: found {config.rank_by!r}, which none of these runs has recorded; {ways}")
    formats.show(found)
    with output.locked():
        log = _log(config, output.folder)
        names = _write(found, output, config)
        log(list(output.written), *formats.rows(found))
    print(f"\nfolder  {shown(output.folder)}\nfiles   {', '.join(names)}")
    if any(section.get("mode") == "offline" for section in config.logger.values()):
        print(f"W&B     wandb sync {shown(output.folder / 'wandb/latest-run')}")


def _write(found: Comparison, output: Output, config: CompareConfig) -> list[str]:
    """Writes all files; returns the names of those to print."""
    from sr_lightning.report import formats

    output.write("table.md", formats.markdown(found))
    output.write("table.tex", formats.latex(found))
    output.write("table.csv", formats.spreadsheet(found))
    names = ["table.md, table.tex, table.csv"]
    plots = list(_plots(found)) if config.plots else []
    for plot in plots:
        output.write(f"plots/{plot.name}.png", plot.png)
        output.write(f"plots/{plot.name}.svg", plot.svg)
    names += ["plots/"] if plots else []
    if config.page:
        _write_page(found, plots, output, config)
        names.append("compare.html")
    output.finish()
    return names


def _log(
    config: CompareConfig, folder: Path
) -> Callable[[Sequence[str], Sequence[str], Sequence[Sequence[Any]]], None]:
    """Returns a function that logs the files to Weights & Biases, if requested."""
    if not config.logger:  # the builders need torch
        return lambda names, columns, rows: None
    from sr_lightning.builders.loggers import build_comparison_log

    return build_comparison_log(config.logger, folder, _command(config))


def _plots(found: Comparison) -> Iterator[Plot]:
    from sr_lightning.report.plots import draw_plots

    print("\ndrawing plots …", flush=True)
    yield from draw_plots(found)


def _write_page(found: Comparison, plots: Sequence[Plot], output: Output, config: CompareConfig) -> None:
    from sr_lightning.report.page import page

    images: list[Sequence[Versions]] = [() for _ in found.groups]
    if config.images and found.groups:
        images, notes = _images(found, config)
        for note in notes:
            print(single_line(note))
    output.write("compare.html", page(found, plots, images, megabytes=config.page_mb))


def _images(found: Comparison, config: CompareConfig) -> tuple[list[Sequence[Versions]], list[str]]:
    """Returns the images of each group, and notes on those that are unavailable."""
    from sr_lightning.report.images import choose_images

    print("making images with the runs' networks …", flush=True)
    from sr_lightning.builders.comparison_images import make_versions

    most = max(1, config.max_images // len(found.groups))
    images: list[Sequence[Versions]] = []
    notes: list[str] = []
    for group in found.groups:
        wanted = choose_images(group, most)
        versions, told = make_versions(group, wanted, device=config.device, cache_dir=config.paths.cache)
        images.append(versions)
        notes += told
    return images, notes


def _folder(config: CompareConfig) -> Path:
    """Returns the output folder."""
    if config.output is not None:
        return Path(config.output)
    if len(config.runs) == 1 and os.path.isdir(config.runs[0]):
        return Path(config.runs[0], "compare")
    return Path(config.paths.runs, "compare", time.strftime("%Y-%m-%d_%H-%M-%S"))


def _command(config: CompareConfig) -> str:
    """Returns the command line that makes the same comparison."""
    runs = config.runs[0] if len(config.runs) == 1 else f"[{','.join(config.runs)}]"
    ranking = [] if config.rank_by == "psnr_y" else [f"rank_by={config.rank_by}"]
    return shlex.join(["python", "-m", "sr_lightning.compare", f"runs={runs}", *ranking])


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command("compare", compare, argv)


if __name__ == "__main__":
    sys.exit(main())
