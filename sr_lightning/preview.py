"""Command `preview`: saves the first training samples, LR beside HR, as one image."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from sr_lightning.cli.main import run_command
from sr_lightning.config.preview import PreviewConfig
from sr_lightning.runs.folder import create_folder


def preview(config: PreviewConfig) -> None:
    """Draws the first training samples, each LR (its pixels enlarged) beside its HR.

    Args:
        config: Checked.
    """
    import numpy as np
    import torch
    from PIL import Image, ImageDraw, ImageFont

    from sr_lightning.builders import components as build
    from sr_lightning.data.degradations.base import to_train_batch
    from sr_lightning.data.sampling.sampler import BatchRequest
    from sr_lightning.image.color import to_uint8, write_png

    data = build.build(config.train.data, "data")
    n = config.n
    data.setup("fit")
    samples = data.samples()
    gap, text = 6, 18
    scale = data.scales[-1]
    side = data.patch_size * scale
    columns = max(round(math.sqrt(n / 2)), 1)
    rows = math.ceil(n / columns)
    page = Image.new("RGB", (columns * (2 * side + 2 * gap) + gap, rows * (side + text + gap) + gap), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=12)
    for i in range(n):
        batch = to_train_batch(samples[BatchRequest(range(i, i + 1), scale, i + 1)], data.degrade)
        lr = to_uint8(batch.lr[0]).repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        both = torch.cat([lr, to_uint8(batch.hr[0])], dim=2).permute(1, 2, 0)  # (side, 2 · side, 3)
        x = gap + (i % columns) * (2 * side + 2 * gap)
        y = gap + (i // columns) * (side + text + gap)
        draw.text((x, y), f"sample {i}: LR x{scale} | HR", fill="black", font=font)
        page.paste(Image.fromarray(both.numpy()), (x, y + text))
    if config.output is None:
        output = create_folder(Path(config.train.paths.runs, "preview")) / "preview.png"
    else:
        output = config.output
        output.parent.mkdir(parents=True, exist_ok=True)
    write_png(output, np.asarray(page))
    print(f"{n} training samples, degraded by {data.degrade.describe()}\n{output}")


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run_command("preview", preview, argv)


if __name__ == "__main__":
    sys.exit(main())
