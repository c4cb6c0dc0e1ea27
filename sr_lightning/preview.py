"""Command `preview`: saves the first training samples, LR beside HR, as one image."""

from __future__ import annotations

import sys
from pathlib import Path

from sr_lightning.cli.main import run_command
from sr_lightning.config.preview import PreviewConfig
from sr_lightning.runs.folder import create_folder


def preview(config: PreviewConfig) -> None:
    """Draws the first training samples, each LR (its pixels enlarged) beside its HR.

    Args:
        config: The validated config.
    """
    import numpy as np

    from sr_lightning.builders.components import build
    from sr_lightning.data.samples_page import draw_samples
    from sr_lightning.image.color import write_png

    data = build(config.train.data, "data")
    data.setup("fit")
    page = draw_samples(data.samples(), config.n, scale=data.scales[-1])
    if config.output is None:
        output = create_folder(Path(config.train.paths.runs, "preview")) / "preview.png"
    else:
        output = config.output
        output.parent.mkdir(parents=True, exist_ok=True)
    write_png(output, np.asarray(page))
    print(f"{config.n} training samples, degraded by {data.degrade.describe()}\n{output}")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command("preview", preview, argv)


if __name__ == "__main__":
    sys.exit(main())
