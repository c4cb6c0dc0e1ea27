"""Trains a small network with a plain `lightning.Trainer`, and enlarges an image with it: no Hydra, no command line.

python scripts/train_without_hydra.py                 # a minute on 2 cores
python scripts/train_without_hydra.py --steps 20000   # one that is worth something
"""

from __future__ import annotations

import argparse
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import lightning
import torch

from sr_lightning import CompositeLoss, SRDataModule, SRModule, upscale_image
from sr_lightning.models import EDSR
from sr_lightning.optim import cosine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of training images; default: those that scikit-image ships")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path("enlarged.png"))
    options = parser.parse_args()

    skimage = find_spec("skimage")
    assert skimage is not None
    assert skimage.origin is not None
    images = options.images or Path(skimage.origin).parent / "data"

    data = SRDataModule(train_dir=str(images), scale=options.scale, batch_size=8, patch_size=24, val_holdout=2)
    net = EDSR(options.scale, n_feats=16, n_resblocks=4, channels=1, global_skip="bicubic")
    module = SRModule(
        net,
        CompositeLoss(alpha=1.0),
        optimizer=partial(torch.optim.Adam, lr=1e-3),
        scheduler=cosine,
    )
    trainer = lightning.Trainer(
        max_steps=options.steps, accelerator="auto", devices=1, logger=False, enable_checkpointing=False
    )
    trainer.fit(module, datamodule=data)
    photo = next(path for path in sorted(images.iterdir()) if path.suffix in (".png", ".jpg"))
    upscale_image(net, photo).save(options.output)
    print(f"{photo.name}, enlarged {options.scale} times: {options.output}")


if __name__ == "__main__":
    main()
