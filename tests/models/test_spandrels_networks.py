"""Networks of spandrel and ours: from the same weights the same images, and the config that fits is named."""

import re

import pytest
import torch

from helpers.published_networks import agree
from sr_lightning.builders.identify_network import suggest_overrides
from sr_lightning.checkpoints.weights import WeightsFile, load_weights
from sr_lightning.models import RCAN, SPAN, RRDBNet, SwinIR


def spandrels(name):
    """spandrel's network, ours, the config that fits."""
    architectures = pytest.importorskip("spandrel.architectures")
    __import__(f"spandrel.architectures.{name.split('_')[0]}")
    part = getattr(architectures, name.split("_")[0])
    if name == "RCAN":
        theirs = part.RCAN(scale=4, n_resgroups=2, n_resblocks=2, n_feats=8, reduction=4)
        ours = RCAN(4, n_feats=8, n_groups=2, n_blocks=2, reduction=4)
        fits = "model=rcan model.n_feats=8 model.n_groups=2 model.n_blocks=2 model.reduction=4 scale=4"
    elif name.startswith("SPAN"):
        plain = name == "SPAN_plain"
        theirs = part.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2, norm=not plain)
        ours = SPAN(2, n_feats=8, rgb_mean=(0, 0, 0)) if plain else SPAN(2, n_feats=8)
        fits = "model=span model.n_feats=8 scale=2"
        fits = fits.replace(" scale", " 'model.rgb_mean=[0,0,0]' scale") if plain else fits
    elif name == "SwinIR":
        theirs = part.SwinIR(
            img_size=16,
            embed_dim=12,
            depths=[2, 2],
            num_heads=[3, 3],
            window_size=4,
            mlp_ratio=2,
            upscale=3,
            img_range=1.0,
            upsampler="pixelshuffledirect",
        )
        ours = SwinIR(3, n_feats=12, n_blocks=2, n_layers=2, n_heads=3, window=4)
        fits = "model=swinir_light model.n_feats=12 model.n_blocks=2 model.n_layers=2 model.n_heads=3 model.window=4"
        fits += " scale=3"
    else:
        theirs = part.ESRGAN(num_filters=8, num_blocks=2, scale=4)
        ours = RRDBNet(4, n_feats=8, n_blocks=2)
        fits = "model=rrdb model.n_feats=8 model.n_blocks=2 scale=4"
    return theirs, ours, fits


def _newer(state):
    """ESRGAN's second names from its first."""
    names = {
        r"model\.0\.": "conv_first.",
        r"model\.1\.sub\.2\.": "trunk_conv.",
        r"model\.1\.sub\.(\d)\.RDB(\d)\.conv(\d)\.0\.": r"RRDB_trunk.\1.RDB\2.conv\3.",
        r"model\.3\.": "upconv1.",
        r"model\.6\.": "upconv2.",
        r"model\.8\.": "HRconv.",
        r"model\.10\.": "conv_last.",
    }
    return {next(re.sub(a, b, key) for a, b in names.items() if re.match(a, key)): v for key, v in state.items()}


def _basicsr(state):
    names = {"RRDB_trunk": "body", "RDB": "rdb", "trunk_conv": "conv_body", "upconv": "conv_up", "HRconv": "conv_hr"}

    def renamed(key):
        for a, b in names.items():
            key = key.replace(a, b)
        return key

    return {renamed(key): value for key, value in _newer(state).items()}


@pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")
@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("RCAN", dict),
        ("SPAN", dict),
        ("SPAN_plain", dict),
        ("SwinIR", dict),
        ("ESRGAN", dict),
        ("ESRGAN", _newer),
        ("ESRGAN", _basicsr),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
@torch.no_grad()
def test_spandrels_networks_and_ours_agree(tmp_path, name, convert):
    torch.manual_seed(0)
    theirs, ours, fits = spandrels(name)
    for key, value in theirs.state_dict().items():
        if value.is_floating_point() and not key.startswith(("sub_mean", "add_mean")) and "attn_mask" not in key:
            fan_in = value[0].numel() if value.dim() > 1 else 20
            value.normal_(std=0.5 * fan_in**-0.5)
    theirs.eval()
    torch.save({"params_ema": convert(theirs.state_dict())}, tmp_path / "official.pth")
    x = torch.rand(2, 3, 16, 20)
    load_weights(ours, tmp_path / "official.pth")
    ours.train(name == "SwinIR")  # in evaluation it adds a window that spandrel's has not
    agree(ours(x), theirs(x.clone()))
    assert suggest_overrides(WeightsFile.read(tmp_path / "official.pth")) == f"it fits: {fits}"


SIDES = [(16, 20), (17, 21), (1, 19), (15, 24), (32, 9)]


@pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")
@pytest.mark.parametrize("size", SIDES, ids=str)
@torch.no_grad()
def test_swinir_mirrors_its_border_as_its_authors_test_program(size):
    """They append the flipped image, cut one window after the last whole one, and crop the result."""
    torch.manual_seed(0)
    theirs, ours, _ = spandrels("SwinIR")
    ours.load_state_dict(ours.from_official(theirs.state_dict()).state)
    x, window = torch.rand(1, 3, *size), 4
    filled = x
    for dim in (-2, -1):
        while filled.shape[dim] < (size[dim] // window + 1) * window:
            filled = torch.cat([filled, filled.flip(dim)], dim)
        filled = filled.narrow(dim, 0, (size[dim] // window + 1) * window)
    expected = theirs.eval()(filled)[..., : 3 * size[0], : 3 * size[1]]
    agree(ours.eval()(x), expected)
