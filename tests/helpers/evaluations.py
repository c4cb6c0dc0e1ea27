"""Small evaluations: networks saved as checkpoints, the command's arguments, and what a run has written."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from sr_lightning.evaluation.scores import BICUBIC, ImageScore, MethodId
from sr_lightning.models import EDSR

QUICK = ["accelerator=cpu", "cost=false"]


def save_network(path, *, seed=1, scale=4, n_feats=4, **config):
    """A checkpoint as training writes it; the network is bicubic with some noise."""
    torch.manual_seed(seed)
    net = EDSR(scale, n_feats=n_feats, n_resblocks=1, upsampler="pixelshuffle_direct", global_skip="bicubic")
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.03)
    model = {"_target_": "sr_lightning.models.EDSR", "scale": scale, "n_feats": n_feats, "n_resblocks": 1}
    model |= {"upsampler": "pixelshuffle_direct", "global_skip": "bicubic"}
    stored = {"model": model, "scale": [scale], "seed": seed, "data": {"train_dir": ["/x/T91"], "seed": seed}} | config
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {f"net.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state, "sr_lightning": {"format": 1, "config": stored}}, path)
    return path


def only_run():
    (path,) = Path("runs/evaluate").iterdir()
    return path


def document(run=None):
    text = ((run or only_run()) / "results.json").read_text()
    return json.loads(text, parse_constant=lambda name: pytest.fail(name))


def rows(run=None):
    return {(r["set"], r["scale"], r["method"], r["checkpoint"]): r for r in document(run)["rows"]}


def per_image(run=None):
    with ((run or only_run()) / "per_image.csv").open() as file:
        return list(csv.DictReader(file))


def table(capsys):
    """What is printed from the first table on."""
    out = capsys.readouterr().out
    return out[out.index("PSNR (dB)") :]


def mine(folder, name="Mine"):
    return [f"{'' if name == 'Set5' else '+'}data.test.{name}={folder}", f"sets=[{name}]"]


def by_scikit_image(sr, hr, scale):
    """Its PSNR and SSIM with the protocol's settings."""
    cut = (slice(scale, -scale), slice(scale, -scale))
    a, b = (rgb2ycbcr(x)[..., 0][cut] for x in (hr, sr))
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return peak_signal_noise_ratio(a, b, data_range=255), structural_similarity(a, b, **settings)


METHOD = MethodId("EDSR", "checkpoints/best.ckpt")


def pair(name, scale, key, own, bicubic, method=METHOD):
    """The scores of a network and of bicubic: PSNR, SSIM and seconds each."""
    return [
        ImageScore(name, scale, f"{key}.png", key, who, *figures)
        for who, figures in ((method, own), (BICUBIC, bicubic))
    ]


SCORES = [
    *pair("A", 2, 0, (30.0, 0.90, 0.5), (29.0, 0.85, 0.01)),
    *pair("A", 2, 1, (40.0, 0.95, 0.1), (38.0, 0.94, 0.02)),
    *pair("A", 2, 2, (20.0, 0.80, 0.2), (20.5, 0.79, 0.03)),
    *pair("B", 4, 0, (math.inf, 1.0, 0.1), (25.0, 0.70, 0.01)),
]
