"""Image super-resolution with PyTorch Lightning and Hydra.

Three lines upscale a photograph with weights included in the package:

    from sr_lightning import load, upscale_image

    net = load("edsr_small_y_x4")  # or a run's folder, a checkpoint, another project's weights
    upscale_image(net, "photo.jpg").save("photo_x4.png")

| name | |
| --- | --- |
| `load`, `list_pretrained` | a network with its weights; the names of the included weights |
| `upscale_image` | upscales a file, a Pillow image, an array or a tensor; returns the same kind |
| `SRModule`, `SRDataModule`, `CompositeLoss` | training with a plain `lightning.Trainer`, as in `scripts/examples/` |
| `psnr`, `ssim` | as measured in papers, on Y |
| `imresize` | MATLAB's, bit for bit |

Names are imported lazily: `import sr_lightning` alone costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = [
    "CompositeLoss",
    "SRDataModule",
    "SRModule",
    "imresize",
    "list_pretrained",
    "load",
    "psnr",
    "ssim",
    "upscale_image",
]

if TYPE_CHECKING:
    from sr_lightning.api import load, upscale_image
    from sr_lightning.data import SRDataModule
    from sr_lightning.image.resize import resize as imresize
    from sr_lightning.losses import CompositeLoss
    from sr_lightning.metrics.psnr_ssim import psnr, ssim
    from sr_lightning.training.module import SRModule
    from sr_lightning.weights.pretrained import pretrained_names as list_pretrained
else:
    _HOMES = {
        "CompositeLoss": ("losses", "CompositeLoss"),
        "SRDataModule": ("data", "SRDataModule"),
        "SRModule": ("training.module", "SRModule"),
        "imresize": ("image.resize", "resize"),
        "list_pretrained": ("weights.pretrained", "pretrained_names"),
        "load": ("api", "load"),
        "psnr": ("metrics.psnr_ssim", "psnr"),
        "ssim": ("metrics.psnr_ssim", "ssim"),
        "upscale_image": ("api", "upscale_image"),
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module, attribute = _HOMES[name]
        return getattr(import_module(f"{__name__}.{module}"), attribute)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
