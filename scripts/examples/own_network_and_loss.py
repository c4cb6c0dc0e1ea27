"""Custom network and loss term in plain PyTorch, trained and compared with bicubic.

The same classes, in a file `mine.py`, can also be trained from the command line:
python -m sr_lightning.train 'model={_target_: mine.Net, scale: 4}' '+loss.terms.e={_target_: mine.EdgeLoss, weight: 1}'
"""

# %% Settings
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import lightning
import torch
from torch import nn

from sr_lightning import CompositeLoss, SRDataModule, SRModule

IMAGES = Path(find_spec("skimage").origin).parent / "data"  # any folder of images
STEPS = 300


# %% A network: any module that maps (N, 3, h, w) in [0, 1] to (N, 3, h·scale, w·scale)
class Net(nn.Module):
    """Learns the residual to bicubic interpolation."""

    def __init__(self, scale: int, width: int = 32) -> None:
        super().__init__()
        self.scale = scale
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 3 * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
        )
        nn.init.zeros_(self.body[4].weight)  # starts as bicubic interpolation
        nn.init.zeros_(self.body[4].bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (N, 3, h, w) -> (N, 3, h·scale, w·scale)."""
        skip = nn.functional.interpolate(x, scale_factor=self.scale, mode="bicubic", align_corners=False)
        return skip + self.body(x)


# %% A loss term: SR and HR -> a scalar
class EdgeLoss(nn.Module):
    """L1 distance between the differences of neighbouring pixels."""

    def forward(self, sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
        """Maps two (N, 3, H, W) tensors to a scalar."""
        across = (sr.diff(dim=-1) - hr.diff(dim=-1)).abs().mean()
        down = (sr.diff(dim=-2) - hr.diff(dim=-2)).abs().mean()
        return across + down


# %% Training with both; the terms are logged separately, the total is their weighted sum
data = SRDataModule(
    train_dir=str(IMAGES),
    extensions=[".png", ".jpg"],
    on_small="skip",
    val_holdout=2,
    scale=4,
    batch_size=8,
    patch_size=24,
)
loss = CompositeLoss(alpha=1.0, terms={"edges": (0.1, EdgeLoss())})
module = SRModule(Net(4), loss, optimizer=partial(torch.optim.Adam, lr=1e-3))
trainer = lightning.Trainer(max_steps=STEPS, devices=1, logger=False, enable_checkpointing=False)
trainer.fit(module, datamodule=data)

# %% Gain over bicubic on the held-out images
(found,) = trainer.validate(module, datamodule=data, verbose=False)
print(f"gain over bicubic: {found['val/gain']:+.2f} dB")
