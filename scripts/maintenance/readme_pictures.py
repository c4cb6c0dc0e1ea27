"""Draws the images of the documentation, from photographs shipped with scikit-image.

    python scripts/maintenance/readme_pictures.py front .github/front.png

shows detailed crops of bicubic, the package's best weights for x4, and HR; PSNR-Y is that of the whole photograph.

    python scripts/maintenance/readme_pictures.py losses .github/losses.png edsr_small_y_x4 <further weights>

shows the same crops for weights trained on different losses, labelled with PSNR-Y and texture distance
(`metrics=[texture_lite2]`; 0 means that all texture is there).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from sr_lightning import load
from sr_lightning.image.color import read_rgb, to_uint8
from sr_lightning.image.resize import resize
from sr_lightning.inference.predict import bicubic, super_resolve
from sr_lightning.metrics.perceptual import PerceptualDistance
from sr_lightning.metrics.psnr_ssim import psnr

WEIGHTS = "edsr_small_y_x4"
FRONT = [("coffee.png", (120, 352, 80, 112)), ("motorcycle_left.png", (268, 152, 80, 112))]  # top, left, height, width
OF_LOSSES = [("astronaut.png", (8, 150, 128, 128)), ("chelsea.png", (60, 130, 128, 128))]
SCALE, GAP = 4, 6
Panel = tuple[list[str], torch.Tensor]


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the arguments and writes the image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("front").add_argument("output", type=Path)
    losses = kinds.add_parser("losses")
    losses.add_argument("output", type=Path)
    losses.add_argument("weights", nargs="+", help="names of pretrained weights, or anything else that `load` takes")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    if arguments.kind == "front":
        page = draw([(front_panels(name), place) for name, place in FRONT], zoom=3)
    else:
        page = draw([(loss_panels(arguments.weights, name), place) for name, place in OF_LOSSES], zoom=2)
    page.save(arguments.output, optimize=True)


def front_panels(name: str) -> list[Panel]:
    """Returns labels and images, (1, 3, H, W) uint8, for one photograph."""
    hr, lr = hr_and_lr(name)
    with torch.no_grad():
        sr = to_uint8(super_resolve(load(WEIGHTS), lr, SCALE))
    methods = [("bicubic", bicubic(lr, SCALE)), (WEIGHTS, sr)]
    return [*(([f"{method}  {float(psnr(x, hr, shave=SCALE)):.2f} dB"], x) for method, x in methods), (["HR"], hr)]


def loss_panels(weights: list[str], name: str) -> list[Panel]:
    """Returns labels and images, (1, 3, H, W) uint8, for one photograph."""
    hr, lr = hr_and_lr(name)
    distance = PerceptualDistance("efficientnet_lite2", texture=True)

    def figures(pixels: torch.Tensor) -> str:
        return f"{float(psnr(pixels, hr, shave=SCALE)):.2f} dB, texture {distance(pixels, hr):.2f}"

    methods = [("bicubic", bicubic(lr, SCALE))]
    with torch.no_grad():
        methods += [(Path(name).name, to_uint8(super_resolve(load(name), lr, SCALE))) for name in weights]
    return [*(([method, figures(pixels)], pixels) for method, pixels in methods), (["HR"], hr)]


def hr_and_lr(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns HR as (1, 3, H, W) uint8 and LR as (1, 3, h, w) in [0, 1]."""
    skimage = find_spec("skimage")
    assert skimage is not None
    assert skimage.origin is not None
    levels = read_rgb(Path(skimage.origin).parent / "data" / name)  # (H, W, 3)
    height, width = (side // SCALE * SCALE for side in levels.shape[:2])
    hr = torch.from_numpy(levels[:height, :width].copy()).permute(2, 0, 1)[None]
    return hr, resize(hr, Fraction(1, SCALE)).float() / 255


def draw(rows: list[tuple[list[Panel], tuple[int, int, int, int]]], *, zoom: int) -> Image.Image:
    """Draws a row per photograph, with its panels cropped to the given region, each under its label."""
    text = 20 * max(len(label) for panels, _ in rows for label, _ in panels)
    _, _, height, width = (side * zoom for side in rows[0][1])
    columns = len(rows[0][0])
    page = Image.new("RGB", (columns * (width + GAP) - GAP, len(rows) * (height + text + GAP) - GAP), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=15)
    for row, (panels, (top, left, h, w)) in enumerate(rows):
        for column, (label, pixels) in enumerate(panels):
            x, y = column * (width + GAP), row * (height + text + GAP)
            for i, line in enumerate(label):
                pen.text((x, y + 20 * i), line, fill="black", font=font)
            crop = pixels[0, :, top : top + h, left : left + w].permute(1, 2, 0).numpy()
            shown = Image.fromarray(np.ascontiguousarray(crop)).resize((w * zoom, h * zoom), Image.Resampling.NEAREST)
            page.paste(shown, (x, y + text))
            print(*label, sep=", ")
    return page


if __name__ == "__main__":
    main()
