"""From a checkpoint to a figure for a paper: an image, and a crop from bicubic, the network and the original."""

# %% Settings
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import matplotlib
import torch

matplotlib.use("Agg")  # writes files; leave it out to see the figure in an editor
import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle
from PIL import Image

from sr_lightning import imresize, load, psnr, upscale_image

CHECKPOINT = "edsr_small_y_x4"  # or a run folder, such as runs/train/2026-01-31_12-00-00
PHOTO = Path(find_spec("skimage").origin).parent / "data" / "motorcycle_left.png"
TOP, LEFT, HEIGHT, WIDTH = 268, 152, 80, 112  # crop, in HR pixels
OUTPUT = "figure.pdf"

# %% HR, cropped to a multiple of the scale, and LR as MATLAB makes it
net = load(CHECKPOINT)
scale = max(net.scales)
image = Image.open(PHOTO).convert("RGB")
image = image.crop((0, 0, image.width // scale * scale, image.height // scale * scale))
hr = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
hr = hr.reshape(1, image.height, image.width, 3).permute(0, 3, 1, 2)  # (1, 3, H, W)
lr = imresize(hr, Fraction(1, scale))

# %% The methods, and PSNR on Y as reported in papers
methods = {"bicubic": imresize(lr, Fraction(scale)), Path(CHECKPOINT).name: upscale_image(net, lr)}
figures = {name: float(psnr(sr, hr, shave=scale)) for name, sr in methods.items()}

# %% The figure
fig, axes = plt.subplots(1, 4, figsize=(7.2, 1.6), width_ratios=[hr.shape[3] / hr.shape[2] * HEIGHT / WIDTH, 1, 1, 1])
axes[0].imshow(hr[0].permute(1, 2, 0))
axes[0].add_patch(Rectangle((LEFT, TOP), WIDTH, HEIGHT, fill=False, edgecolor="red"))
axes[0].set_xlabel(PHOTO.stem, fontsize=7)
for ax, (name, sr) in zip(axes[1:], {**methods, "HR": hr}.items(), strict=True):
    ax.imshow(sr[0, :, TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH].permute(1, 2, 0), interpolation="nearest")
    ax.set_xlabel(f"{name}\n{figures[name]:.2f} dB" if name in figures else name, fontsize=7)
for ax in axes:
    ax.set(xticks=[], yticks=[])
fig.tight_layout(pad=0.3)
fig.savefig(OUTPUT, dpi=300, bbox_inches="tight")
print(f"{OUTPUT}: " + ", ".join(f"{name} {value:.2f} dB" for name, value in figures.items()))
