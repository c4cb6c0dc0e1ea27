"""Page of training samples, LR beside HR."""

from __future__ import annotations

import math

import torch
from PIL import Image, ImageDraw, ImageFont

from sr_lightning.data.datasets import TrainSamples
from sr_lightning.data.degradations.base import to_train_batch
from sr_lightning.data.sampling.sampler import BatchRequest
from sr_lightning.image.color import to_uint8

_GAP, _TEXT = 6, 18  # pixels between samples, and of the line above each


def draw_samples(samples: TrainSamples, n: int, *, scale: int) -> Image.Image:
    """Draws the first training samples as a grid, each LR (its pixels enlarged) beside its HR.

    Args:
        samples: The training samples.
        n: Number of samples to draw.
        scale: The SR scale.
    """
    side = samples.patch_size * scale
    columns = max(round(math.sqrt(n / 2)), 1)
    rows = math.ceil(n / columns)
    width, height = 2 * side + 2 * _GAP, side + _TEXT + _GAP
    page = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=12)
    for i in range(n):
        batch = to_train_batch(samples[BatchRequest(range(i, i + 1), scale, i + 1)], samples.degrade)
        lr = to_uint8(batch.lr[0]).repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        both = torch.cat([lr, to_uint8(batch.hr[0])], dim=2).permute(1, 2, 0)  # (side, 2 · side, 3)
        x, y = _GAP + (i % columns) * width, _GAP + (i // columns) * height
        draw.text((x, y), f"sample {i}: LR x{scale} | HR", fill="black", font=font)
        page.paste(Image.fromarray(both.numpy()), (x, y + _TEXT))
    return page
