"""Draws the README's images from finished runs: the same place of one photograph for each run.

    python -m sr_lightning.train -m loss.beta=0,0.01,0.1 hydra.sweep.dir=runs/readme
    python scripts/maintenance/readme_pictures.py .github/loss_weights.png runs/readme/0 runs/readme/1 runs/readme/2

Each panel is labelled with the run's weights, PSNR-Y and its distance between the features of EfficientNet-Lite0.
"""

from __future__ import annotations

import argparse
import logging
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image, ImageDraw, ImageFont
from skimage.data import astronaut

from sr_lightning.builders.network import build_network
from sr_lightning.checkpoints.weights import load_weights
from sr_lightning.config.conf_files import register_resolvers
from sr_lightning.config.train import check_train
from sr_lightning.image.color import to_uint8
from sr_lightning.image.resize import resize
from sr_lightning.inference.predict import bicubic, super_resolve
from sr_lightning.losses import PerceptualLoss
from sr_lightning.metrics.psnr_ssim import psnr

TOP, LEFT, SIDE, SHOWN, TEXT, GAP = 8, 150, 128, 256, 40, 6


def main() -> None:
    """Reads the arguments and writes the image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    register_resolvers()
    hr = torch.from_numpy(astronaut().copy()).permute(2, 0, 1)[None]  # (1, 3, 512, 512)
    lr = resize(hr, Fraction(1, 4)).float() / 255
    versions = [("bicubic", bicubic(lr, 4)), *(super_resolved(run, lr) for run in arguments.runs), ("HR", hr)]
    distance = PerceptualLoss()
    page = Image.new("RGB", (len(versions) * (SHOWN + GAP) + GAP, SHOWN + TEXT + GAP), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=14)
    for i, (name, pixels) in enumerate(versions):
        with torch.no_grad():
            far = float(distance(pixels.float() / 255, hr.float() / 255))
        figures = "" if name == "HR" else f"{float(psnr(pixels, hr, shave=4)):.2f} dB, features {far:.2f}"
        x = GAP + i * (SHOWN + GAP)
        draw.text((x, 2), name, fill="black", font=font)
        draw.text((x, 20), figures, fill="black", font=font)
        crop = pixels[0, :, TOP : TOP + SIDE, LEFT : LEFT + SIDE].permute(1, 2, 0).numpy()
        shown = Image.fromarray(np.ascontiguousarray(crop)).resize((SHOWN, SHOWN), Image.Resampling.NEAREST)
        page.paste(shown, (x, TEXT))
        print(name, figures)
    page.save(arguments.output, optimize=True)


def super_resolved(run: Path, lr: torch.Tensor) -> tuple[str, torch.Tensor]:
    """A run's label and its image: (1, 3, H, W) uint8."""
    config = check_train(OmegaConf.load(run / ".hydra" / "config.yaml"))
    net = build_network(config.model).eval()
    load_weights(net, run / "checkpoints" / "best.ckpt")
    with torch.no_grad():
        sr = super_resolve(net, lr, 4)
    return f"alpha {config.loss['alpha']:g}, beta {config.loss['beta']:g}", to_uint8(sr)


if __name__ == "__main__":
    main()
