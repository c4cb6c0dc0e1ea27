"""Draws the pages' images, from photographs that scikit-image ships.

    python scripts/maintenance/readme_pictures.py front .github/front.png

bicubic, the best weights in the package for x4, and HR: places with structure; PSNR-Y is of the whole photograph.

    python -m sr_lightning.train -m loss.beta=0,0.01,0.1 trainer.max_steps=3000 hydra.sweep.dir=runs/readme
    python scripts/maintenance/readme_pictures.py runs .github/loss_weights.png runs/readme/[012]

The same place of one photograph for each finished run, labelled with the run's weights, PSNR-Y and its distance
between the features of EfficientNet-Lite0.
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
from omegaconf import OmegaConf
from PIL import Image, ImageDraw, ImageFont

from sr_lightning import load
from sr_lightning.builders.network import build_network
from sr_lightning.checkpoints.weights import load_weights
from sr_lightning.config.conf_files import register_resolvers
from sr_lightning.config.train import check_train
from sr_lightning.image.color import read_rgb, to_uint8
from sr_lightning.image.resize import resize
from sr_lightning.inference.predict import bicubic, super_resolve
from sr_lightning.losses import PerceptualLoss
from sr_lightning.metrics.psnr_ssim import psnr

WEIGHTS = "edsr_small_y_x4"
FRONT = [("coffee.png", (120, 352, 80, 112)), ("motorcycle_left.png", (268, 152, 80, 112))]  # top, left, height, width
OF_RUNS = ("astronaut.png", (8, 150, 128, 128))
SCALE, GAP = 4, 6
Panel = tuple[list[str], torch.Tensor]


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the arguments and writes the image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("front").add_argument("output", type=Path)
    runs = kinds.add_parser("runs")
    runs.add_argument("output", type=Path)
    runs.add_argument("runs", type=Path, nargs="+")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    if arguments.kind == "front":
        page = draw([(front_panels(name), place) for name, place in FRONT], zoom=3)
    else:
        page = draw([(run_panels(arguments.runs), OF_RUNS[1])], zoom=2)
    page.save(arguments.output, optimize=True)


def front_panels(name: str) -> list[Panel]:
    """Labels and images, (1, 3, H, W) uint8, of one photograph."""
    hr, lr = hr_and_lr(name)
    with torch.no_grad():
        sr = to_uint8(super_resolve(load(WEIGHTS), lr, SCALE))
    methods = [("bicubic", bicubic(lr, SCALE)), (WEIGHTS, sr)]
    return [*(([f"{method}  {float(psnr(x, hr, shave=SCALE)):.2f} dB"], x) for method, x in methods), (["HR"], hr)]


def run_panels(runs: list[Path]) -> list[Panel]:
    """Labels and images, (1, 3, H, W) uint8, of finished runs."""
    register_resolvers()
    hr, lr = hr_and_lr(OF_RUNS[0])
    distance = PerceptualLoss()

    def figures(pixels: torch.Tensor) -> str:
        with torch.no_grad():
            far = float(distance(pixels.float() / 255, hr.float() / 255))
        return f"{float(psnr(pixels, hr, shave=SCALE)):.2f} dB, features {far:.2f}"

    methods = [("bicubic", bicubic(lr, SCALE)), *(super_resolved(run, lr) for run in runs)]
    return [*(([method, figures(pixels)], pixels) for method, pixels in methods), (["HR"], hr)]


def hr_and_lr(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, 3, H, W) uint8 and (1, 3, h, w) in [0, 1]."""
    skimage = find_spec("skimage")
    assert skimage is not None
    assert skimage.origin is not None
    levels = read_rgb(Path(skimage.origin).parent / "data" / name)  # (H, W, 3)
    height, width = (side // SCALE * SCALE for side in levels.shape[:2])
    hr = torch.from_numpy(levels[:height, :width].copy()).permute(2, 0, 1)[None]
    return hr, resize(hr, Fraction(1, SCALE)).float() / 255


def super_resolved(run: Path, lr: torch.Tensor) -> tuple[str, torch.Tensor]:
    """A run's label and its image: (1, 3, H, W) uint8."""
    config = check_train(OmegaConf.load(run / ".hydra" / "config.yaml"))
    net = build_network(config.model).eval()
    load_weights(net, run / "checkpoints" / "best.ckpt")
    with torch.no_grad():
        sr = super_resolve(net, lr, SCALE)
    return f"alpha {config.loss['alpha']:g}, beta {config.loss['beta']:g}", to_uint8(sr)


def draw(rows: list[tuple[list[Panel], tuple[int, int, int, int]]], *, zoom: int) -> Image.Image:
    """A row for each photograph: its panels, cut at the place, each under its label."""
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
