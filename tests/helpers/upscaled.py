"""What `upscale` has written, and what the network makes of a photograph without it."""

import numpy as np
import torch
from PIL import Image

from sr_lightning.image.color import read_rgb, to_uint8
from sr_lightning.inference.predict import super_resolve


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def network_result(path, scale):
    from sr_lightning.builders.load_network import load_network

    lr = torch.tensor(read_rgb(path)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        return to_uint8(super_resolve(load_network(f"edsr_tiny_y_x{scale}").net, lr, scale))[0].permute(1, 2, 0).numpy()
