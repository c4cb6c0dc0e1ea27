"""Trains a small network with a plain `lightning.Trainer`, and upscales an image with it: no Hydra, no command line.

Takes a minute on 2 cores; a useful network needs more steps.
"""

# %% Settings
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import lightning
import torch

from sr_lightning import CompositeLoss, SRDataModule, SRModule, upscale_image
from sr_lightning.models import EDSR
from sr_lightning.optim import cosine

IMAGES = Path(find_spec("skimage").origin).parent / "data"  # any folder of images
STEPS = 300
SCALE = 4

# %% Data: patches of HR images, and LR generated from them; two images are held out for validation
data = SRDataModule(
    train_dir=str(IMAGES),
    extensions=[".png", ".jpg"],
    on_small="skip",
    val_holdout=2,
    scale=SCALE,
    batch_size=8,
    patch_size=24,
)

# %% Network and loss
net = EDSR(SCALE, n_feats=16, n_resblocks=4, channels=1, global_skip="bicubic")
module = SRModule(net, CompositeLoss(alpha=1.0), optimizer=partial(torch.optim.Adam, lr=1e-3), scheduler=cosine)

# %% Training
trainer = lightning.Trainer(max_steps=STEPS, accelerator="auto", devices=1, logger=False, enable_checkpointing=False)
trainer.fit(module, datamodule=data)

# %% Upscaling an image
photo = next(path for path in sorted(IMAGES.iterdir()) if path.suffix in (".png", ".jpg"))
upscale_image(net, photo).save("enlarged.png")
print(f"{photo.name}, enlarged {SCALE} times: enlarged.png")
