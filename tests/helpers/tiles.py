"""Images enlarged by the Upscaler, tile by tile, and by the network as a whole."""

import numpy as np
import torch

from sr_lightning.inference.forward import apply_to_rgb
from sr_lightning.inference.upscaler import Upscaler
from sr_lightning.models import EDSR


def rgb_network():
    torch.manual_seed(0)
    return EDSR(2, n_feats=8, n_resblocks=2).eval()


def levels(image, height=70, width=90):
    return image(height, width, 0)


def enlarged(net, lr, dtype=np.float32, scale=2, **options):
    return np.concatenate(list(Upscaler(net, scale, **options).rows(lr, dtype)))


def whole(net, lr, scale=2):
    x = torch.tensor(lr).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        return apply_to_rgb(net, x, scale)[0].permute(1, 2, 0).numpy()
