"""Published weights in our networks: the same function as the published network, and the config that fits is named.

The references are spandrel's networks, and short functions in torch.nn.functional over weights with published
names. What the released networks' code does beyond their papers is noted beside it.
"""

import re

import pytest
import torch
from torch.nn import functional as F

from sr_lightning.builders.identify_network import suggest_overrides
from sr_lightning.checkpoints.weights import WeightsFile, load_weights
from sr_lightning.errors import UserError
from sr_lightning.image.resize import enlarge
from sr_lightning.models import (
    EDSR,
    ESPCN,
    FSRCNN,
    IMDN,
    MDSR,
    RCAN,
    RDN,
    RFDN,
    SPAN,
    SRCNN,
    VDSR,
    MSRResNet,
    NinaSR,
    RRDBNet,
    SRResNet,
    SwinIR,
)

MEAN = (0.4488, 0.4371, 0.4040)
STAGES = {2: [2], 3: [3], 4: [2, 2], 8: [2, 2, 2]}


class Layers:
    """Functions over weights that are drawn at their first use and kept under published names."""

    def __init__(self):
        self.state = {}
        self.generator = torch.Generator().manual_seed(0)

    def draw(self, name, *shape, std):
        if name not in self.state:
            self.state[name] = torch.randn(*shape, generator=self.generator) * std
        return self.state[name]

    def conv(self, x, name, n_out, size=3, *, bias=True, **options):
        n_in = x.shape[1]
        weight = self.draw(f"{name}.weight", n_out, n_in, size, size, std=(n_in * size**2) ** -0.5)
        shift = self.draw(f"{name}.bias", n_out, std=0.1) if bias else None
        return F.conv2d(x, weight, shift, **{"padding": size // 2} | options)

    def prelu(self, x, name, n=1):
        return F.prelu(x, self.draw(f"{name}.weight", n, std=0.2).abs_())

    def norm(self, x, name):
        n = x.shape[1]
        gain, shift, mean = (self.draw(f"{name}.{part}", n, std=1.0) for part in ("weight", "bias", "running_mean"))
        variance = self.draw(f"{name}.running_var", n, std=1.0).abs_().add_(0.1)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)
        return (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt() * gain[:, None, None] + shift[
            :, None, None
        ]

    def shift(self, x, name, sign, value_range=255.0, mean=MEAN):
        weight = self.state.setdefault(f"{name}.weight", torch.eye(3).view(3, 3, 1, 1))
        bias = self.state.setdefault(f"{name}.bias", sign * value_range * torch.tensor(mean))
        return F.conv2d(x, weight, bias)

    def upsample(self, x, name, scale):
        """Convolutions with a shuffle after each."""
        for i, stage in enumerate(STAGES[scale]):
            x = F.pixel_shuffle(self.conv(x, f"{name}.{2 * i}", x.shape[1] * stage**2), stage)
        return x


def edsr(w, x, scale, res_scale, n=6, blocks=2):
    x = shallow = w.conv(w.shift(x * 255, "sub_mean", -1), "head.0", n)
    for i in range(blocks):
        x = x + res_scale * w.conv(w.conv(x, f"body.{i}.body.0", n).relu(), f"body.{i}.body.2", n)
    x = w.upsample(w.conv(x, f"body.{blocks}", n) + shallow, "tail.0", scale)
    return w.shift(w.conv(x, "tail.1", 3), "add_mean", 1) / 255


def edsr_basicsr(w, x, scale, res_scale, n=6, blocks=2):
    mean = torch.tensor(MEAN)[:, None, None]
    x = shallow = w.conv((x - mean) * 255, "conv_first", n)
    for i in range(blocks):
        x = x + res_scale * w.conv(w.conv(x, f"body.{i}.conv1", n).relu(), f"body.{i}.conv2", n)
    x = w.upsample(w.conv(x, "conv_after_body", n) + shallow, "upsample", scale)
    return w.conv(x, "conv_last", 3) / 255 + mean


BASICSR, MMSR, MMEDITING = (
    ("body", "upconv{}", "conv_hr"),
    ("recon_trunk", "upconv{}", "HRconv"),
    ("trunk_net", "upsample{}.upsample_conv", "conv_hr"),
)


def msrresnet(w, x, scale, names, n=6, blocks=2):
    trunk, upsample, before_last = names
    y = F.leaky_relu(w.conv(x, "conv_first", n), 0.1)
    for i in range(blocks):
        y = y + w.conv(w.conv(y, f"{trunk}.{i}.conv1", n).relu(), f"{trunk}.{i}.conv2", n)
    for i, stage in enumerate(STAGES[scale], start=1):
        y = F.leaky_relu(F.pixel_shuffle(w.conv(y, upsample.format(i), n * stage**2), stage), 0.1)
    y = w.conv(F.leaky_relu(w.conv(y, before_last, n), 0.1), "conv_last", 3)
    return y + F.interpolate(x, (x.shape[2] * scale, x.shape[3] * scale), mode="bilinear", align_corners=False)


def mdsr(w, x, scale, n=6, blocks=2):
    for i, other in enumerate((2, 3, 4)):  # all scales' layers are in the file
        found = w.conv(w.shift(x * 255, "sub_mean", -1), "head.0", n)
        for j in range(2):
            name = f"pre_process.{i}.{j}.body"
            found = found + w.conv(w.conv(found, f"{name}.0", n, 5).relu(), f"{name}.2", n, 5)
        shallow = found
        for j in range(blocks):
            found = found + w.conv(w.conv(found, f"body.{j}.body.0", n).relu(), f"body.{j}.body.2", n)
        found = w.upsample(w.conv(found, f"body.{blocks}", n) + shallow, f"upsample.{i}", other)
        found = w.shift(w.conv(found, "tail.0", 3), "add_mean", 1) / 255
        if other == scale:
            y = found
    return y


def rcan_basicsr(w, x, scale, n=8, groups=2, blocks=2):
    mean = torch.tensor(MEAN)[:, None, None]
    x = shallow = w.conv((x - mean) * 255, "conv_first", n)
    for i in range(groups):
        before = x
        for j in range(blocks):
            name = f"body.{i}.residual_group.{j}.rcab"
            found = w.conv(w.conv(x, f"{name}.0", n).relu(), f"{name}.2", n)
            gate = w.conv(found.mean((2, 3), keepdim=True), f"{name}.3.attention.1", n // 2, 1).relu()
            x = x + found * w.conv(gate, f"{name}.3.attention.3", n, 1).sigmoid()
        x = w.conv(x, f"body.{i}.conv", n) + before
    x = w.upsample(w.conv(x, "conv_after_body", n) + shallow, "upsample", scale)
    return w.conv(x, "conv_last", 3) / 255 + mean


def rdn(w, x, scale, names, n=6, blocks=2, layers=3, growth=6):
    """EDSR-PyTorch's computes on 0..255, and its upsampler's list ends with the last convolution."""
    first, block, layer, local, fusion, up = names
    value_range = 255 if first == "SFENet" else 1
    shallow = w.conv(x * value_range, f"{first}1", n)
    x, found = w.conv(shallow, f"{first}2", n), []
    for i in range(blocks):
        dense = x
        for j in range(layers):
            dense = torch.cat([dense, w.conv(dense, f"{block}.{i}.{layer.format(j)}", growth).relu()], 1)
        x = x + w.conv(dense, f"{block}.{i}.{local}", n, 1)
        found.append(x)
    x = w.conv(w.conv(torch.cat(found, 1), f"{fusion}.0", n, 1), f"{fusion}.1", n) + shallow
    x = w.upsample(x, up, scale)
    last = f"UPNet.{2 * len(STAGES[scale])}" if value_range == 255 else "output"
    return w.conv(x, last, 3) / value_range


RDN_YJN = ("sfe", "rdbs", "layers.{}.conv", "lff", "gff", "upscale")
RDN_EDSR = ("SFENet", "RDBs", "convs.{}.conv.0", "LFF", "GFF", "UPNet")


def imdn(w, x, scale, n=32, blocks=2):
    x = shallow = w.conv(x, "fea_conv", n)
    found = []
    for i in range(1, blocks + 1):
        rest, kept = x, []
        for j in (1, 2, 3):
            y = F.leaky_relu(w.conv(rest, f"IMDB{i}.c{j}", n), 0.05)
            kept.append(y[:, : n // 4])
            rest = y[:, n // 4 :]
        y = torch.cat([*kept, w.conv(rest, f"IMDB{i}.c4", n // 4)], 1)
        contrast = y.var((2, 3), correction=0, keepdim=True).sqrt() + y.mean((2, 3), keepdim=True)
        gate = w.conv(contrast, f"IMDB{i}.cca.conv_du.0", n // 16, 1).relu()
        gate = w.conv(gate, f"IMDB{i}.cca.conv_du.2", n, 1).sigmoid()
        x = w.conv(y * gate, f"IMDB{i}.c5", n, 1) + x
        found.append(x)
    x = w.conv(F.leaky_relu(w.conv(torch.cat(found, 1), "c.0", n, 1), 0.05), "LR_conv", n) + shallow
    return F.pixel_shuffle(w.conv(x, "upsampler.0", 3 * scale**2), scale)


def rfdn(w, x, scale, n=16, blocks=2):
    """The authors' test program gives it images on 0..255, and takes the same."""
    x = shallow = w.conv(x * 255, "fea_conv", n)
    found = []
    for i in range(1, blocks + 1):
        kept = []
        for j in (1, 2, 3):
            kept.append(F.leaky_relu(w.conv(x, f"B{i}.c{j}_d", n // 2, 1), 0.05))
            x = F.leaky_relu(w.conv(x, f"B{i}.c{j}_r", n) + x, 0.05)
        kept.append(F.leaky_relu(w.conv(x, f"B{i}.c4", n // 2), 0.05))
        x = w.conv(torch.cat(kept, 1), f"B{i}.c5", n, 1)
        narrow, esa = n // 4, f"B{i}.esa"
        reduced = w.conv(x, f"{esa}.conv1", narrow, 1)
        wide = F.max_pool2d(w.conv(reduced, f"{esa}.conv2", narrow, stride=2, padding=0), 7, stride=3)
        wide = w.conv(w.conv(wide, f"{esa}.conv_max", narrow).relu(), f"{esa}.conv3", narrow).relu()
        wide = F.interpolate(w.conv(wide, f"{esa}.conv3_", narrow), x.shape[2:], mode="bilinear")
        gate = w.conv(wide + w.conv(reduced, f"{esa}.conv_f", narrow, 1), f"{esa}.conv4", n, 1)
        x = x * gate.sigmoid()
        found.append(x)
    x = w.conv(F.leaky_relu(w.conv(torch.cat(found, 1), "c.0", n, 1), 0.05), "LR_conv", n) + shallow
    return F.pixel_shuffle(w.conv(x, "upsampler.0", 3 * scale**2), scale) / 255


def ninasr(w, x, scale, n=8, blocks=3):
    mean = w.state["tail.2.bias"] = torch.tensor(MEAN).view(1, 3, 1, 1)
    w.state["head.0.bias"] = -mean
    x = shallow = w.conv(x - mean, "head.1", n, bias=False)
    variance = 1.0
    for i in range(blocks):
        name = f"body.{i}.body"
        y = w.conv(x / variance**0.5, f"{name}.0", 2 * n).relu()
        pooled = F.avg_pool2d(y, 31, stride=16, padding=15, count_include_pad=False)
        gate = w.conv(w.conv(pooled, f"{name}.2.body.1", n // 2, 1).relu(), f"{name}.2.body.3", 2 * n, 1).sigmoid()
        gate = gate.repeat_interleave(16, 2).repeat_interleave(16, 3)[..., : y.shape[2], : y.shape[3]]
        x = x + w.conv(y * gate, f"{name}.3", n, bias=False) * (2 * 4 / blocks)
        variance += (4 / blocks) ** 2
    return F.pixel_shuffle(w.conv(x + shallow, "tail.0", 3 * scale**2), scale) + mean


def srresnet(w, x, scale, conv="conv", n=6, blocks=2):
    x = shallow = w.prelu(w.conv(x, f"{conv}1.0", n, 9), f"{conv}1.1")
    for i in range(blocks):
        name = f"trunk.{i}.rcb"
        y = w.prelu(w.norm(w.conv(x, f"{name}.0", n, bias=False), f"{name}.1"), f"{name}.2")
        x = x + w.norm(w.conv(y, f"{name}.3", n, bias=False), f"{name}.4")
    x = w.norm(w.conv(x, f"{conv}2.0", n, bias=False), f"{conv}2.1") + shallow
    for i, stage in enumerate(STAGES[scale]):
        name = f"upsampling.{i}.upsample_block"
        x = w.prelu(F.pixel_shuffle(w.conv(x, f"{name}.0", n * stage**2), stage), f"{name}.2")
    return w.conv(x, f"{conv}3", 3, 9)


def vdsr(w, x, scale, names, n=6, layers=5):
    x = enlarged = enlarge(x, scale)
    x = w.conv(x, names[0], n, bias=False).relu()
    for i in range(layers - 2):
        x = w.conv(x, names[1].format(i), n, bias=False).relu()
    return w.conv(x, names[2], 1, bias=False) + enlarged


def srcnn(w, x, scale, names, sizes):
    x = w.conv(enlarge(x, scale), names[0], 8, sizes[0]).relu()
    return w.conv(w.conv(x, names[1], 4, sizes[1]).relu(), names[2], 1, sizes[2])


def fsrcnn(w, x, scale, names, d=8, s=4, m=2):
    sizes = [(d, 5), (s, 1), *[(s, 3)] * m, (d, 1)]
    for name, (n, size) in zip(names, sizes, strict=False):
        part, i = name
        x = w.prelu(w.conv(x, f"{part}.{2 * i}", n, size), f"{part}.{2 * i + 1}", n)
    last = names[-1]
    weight, bias = w.draw(f"{last}.weight", d, 1, 9, 9, std=0.05), w.draw(f"{last}.bias", 1, std=0.1)
    return F.conv_transpose2d(x, weight, bias, stride=scale, padding=4, output_padding=scale - 1)


FSRCNN_YJN = [("first_part", 0), *(("mid_part", i) for i in range(4)), "last_part"]
FSRCNN_LORNATANG = [("feature_extraction", 0), ("shrink", 0), ("map", 0), ("map", 1), ("expand", 0), "deconv"]


def espcn(w, x, scale, names, n=8):
    x = w.conv(w.conv(x, f"{names[0]}.0", n, 5).tanh(), f"{names[0]}.2", n // 2).tanh()
    return F.pixel_shuffle(w.conv(x, f"{names[1]}.0", scale**2), scale)


TWTYGQYY, LORNATANG = ("input", "residual_layer.{}.conv", "output"), ("conv1.0", "trunk.{}.conv", "conv2")
CASES = {
    **{
        f"{name}_x{s}": (
            lambda w, x, s=s, reference=reference: reference(w, x, s, 0.1),
            lambda s=s: EDSR(s, n_feats=6, n_resblocks=2, res_scale=0.1),
            f"model=edsr model.n_feats=6 model.n_resblocks=2 scale={s}",
        )
        for name, reference in (("edsr", edsr), ("edsr_basicsr", edsr_basicsr))
        for s in (2, 3, 4)
    },
    **{
        f"mdsr_x{s}": (
            lambda w, x, s=s: mdsr(w, x, s),
            lambda s=s: Called(MDSR([2, 3, 4], n_feats=6, n_resblocks=2), s),
            "model=mdsr model.n_feats=6 model.n_resblocks=2 'scale=[2,3,4]'",
        )
        for s in (2, 3, 4)
    },
    **{
        f"{name}_x{s}": (
            lambda w, x, s=s, names=names: rdn(w, x, s, names),
            lambda s=s: RDN(s, n_feats=6, n_blocks=2, n_layers=3, growth=6),
            f"model=rdn model.n_feats=6 model.n_blocks=2 model.n_layers=3 model.growth=6 scale={s}",
        )
        for name, names in (("rdn_yjn", RDN_YJN), ("rdn_edsr", RDN_EDSR))
        for s in (2, 3, 4)
    },
    "rcan_basicsr": (
        lambda w, x: rcan_basicsr(w, x, 4),
        lambda: RCAN(4, n_feats=8, n_groups=2, n_blocks=2, reduction=2),
        "model=rcan model.n_feats=8 model.n_groups=2 model.n_blocks=2 model.reduction=2 scale=4",
    ),
    "imdn": (
        lambda w, x: imdn(w, x, 3),
        lambda: IMDN(3, n_feats=32, n_blocks=2),
        "model=imdn model.n_feats=32 model.n_blocks=2 scale=3",
    ),
    "rfdn": (
        lambda w, x: rfdn(w, x, 4),
        lambda: RFDN(4, n_feats=16, n_blocks=2),
        "model=rfdn model.n_feats=16 model.n_blocks=2 scale=4",
    ),
    "ninasr": (
        lambda w, x: ninasr(w, x, 2),
        lambda: NinaSR(2, n_feats=8, n_resblocks=3),
        "model=ninasr model.n_feats=8 model.n_resblocks=3 scale=2",
    ),
    **{
        f"msrresnet_{kind}": (
            lambda w, x, s=scale, names=names: msrresnet(w, x, s, names),
            lambda s=scale: MSRResNet(s, n_feats=6, n_resblocks=2),
            f"model=msrresnet model.n_feats=6 model.n_resblocks=2 scale={scale}",
        )
        for kind, names, scale in (("basicsr", BASICSR, 4), ("mmsr", MMSR, 3), ("mmediting", MMEDITING, 2))
    },
    "srresnet": (
        lambda w, x: srresnet(w, x, 4),
        lambda: SRResNet(4, n_feats=6, n_resblocks=2),
        "model=srresnet model.n_feats=6 model.n_resblocks=2 scale=4",
    ),
    "srresnet_older": (
        lambda w, x: srresnet(w, x, 2, "conv_block"),
        lambda: SRResNet(2, n_feats=6, n_resblocks=2),
        "model=srresnet model.n_feats=6 model.n_resblocks=2 scale=2",
    ),
    "vdsr": (
        lambda w, y: vdsr(w, y, 3, TWTYGQYY),
        lambda: VDSR(3, n_feats=6, n_layers=5),
        "model=vdsr model.n_feats=6 model.n_layers=5",
    ),
    "vdsr_lornatang": (
        lambda w, y: vdsr(w, y, 2, LORNATANG),
        lambda: VDSR(2, n_feats=6, n_layers=5),
        "model=vdsr model.n_feats=6 model.n_layers=5",
    ),
    "srcnn": (
        lambda w, y: srcnn(w, y, 2, ("conv1", "conv2", "conv3"), (9, 5, 5)),
        lambda: SRCNN(2, kernel_sizes=(9, 5, 5), n_feats=(8, 4)),
        "model=srcnn 'model.kernel_sizes=[9,5,5]' 'model.n_feats=[8,4]'",
    ),
    "srcnn_lornatang": (
        lambda w, y: srcnn(w, y, 2, ("features.0", "map.0", "reconstruction"), (9, 1, 5)),
        lambda: SRCNN(2, n_feats=(8, 4)),
        "model=srcnn 'model.n_feats=[8,4]'",
    ),
    "fsrcnn": (
        lambda w, y: fsrcnn(w, y, 3, FSRCNN_YJN),
        lambda: FSRCNN(3, d=8, s=4, m=2),
        "model=fsrcnn model.d=8 model.s=4 model.m=2",
    ),
    "fsrcnn_lornatang": (
        lambda w, y: fsrcnn(w, y, 2, FSRCNN_LORNATANG),
        lambda: FSRCNN(2, d=8, s=4, m=2),
        "model=fsrcnn model.d=8 model.s=4 model.m=2",
    ),
    "espcn": (
        lambda w, y: espcn(w, y, 3, ("first_part", "last_part")),
        lambda: ESPCN(3, n_feats=8),
        "model=espcn model.n_feats=8 scale=3",
    ),
    "espcn_lornatang": (
        lambda w, y: espcn(w, y, 4, ("feature_maps", "sub_pixel")),
        lambda: ESPCN(4, n_feats=8),
        "model=espcn model.n_feats=8 scale=4",
    ),
}


class Called:
    """A multi-scale network at one of its scales."""

    def __init__(self, net, scale):
        self.net, self.scale = net, scale

    def __call__(self, x):
        return self.net(x, scale=self.scale)


def agree(ours, theirs):
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.02
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("name", list(CASES))
@torch.no_grad()
def test_published_weights_give_the_published_function(tmp_path, name):
    reference, make, fits = CASES[name]
    net = make()
    inner = getattr(net, "net", net)
    x = torch.rand(1, inner.channels, 16, 19, generator=torch.Generator().manual_seed(1))
    layers = Layers()
    expected = reference(layers, x)
    torch.save(layers.state, tmp_path / "official.pth")
    load_weights(inner, tmp_path / "official.pth")
    inner.eval()
    agree(net(x), expected)
    assert suggest_overrides(WeightsFile.read(tmp_path / "official.pth")) == f"it fits: {fits}"


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


def _clipped_rfdn(limit):
    """An RFDN that enlarges by repetition what lies below a limit; above, its output is the limit."""
    eye = torch.eye(3)
    layers = Layers()
    rfdn(layers, torch.rand(1, 3, 15, 15), 2, n=12, blocks=1)
    state = {key: torch.zeros_like(value) for key, value in layers.state.items()}
    state["fea_conv.weight"][:3, :, 1, 1] = eye
    state["B1.c1_d.weight"][:3, :3, 0, 0], state["B1.c1_d.bias"][:3] = eye, -limit  # leaky: 0.05 of it below
    state["B1.c5.weight"][:3, :3, 0, 0] = eye
    state["B1.esa.conv4.bias"][:] = 50.0  # its gate is open
    state["c.0.weight"][:3, :3, 0, 0] = eye
    state["LR_conv.weight"][:3, :3, 1, 1] = -eye
    state["upsampler.0.weight"][:, :3, 1, 1] = eye.repeat_interleave(4, 0)
    return state


def _clipped_edsr(limit):
    """On 0..1 as above; on 0..255 what is added is a step of one level at the mean, steep on 0..1."""
    layers = Layers()
    edsr_basicsr(layers, torch.rand(1, 3, 8, 8), 2, 1.0, blocks=1)
    state = {key: torch.zeros_like(value) for key, value in layers.state.items()}
    eye = torch.eye(3)
    state["conv_first.weight"][:3, :, 1, 1] = eye
    state["body.0.conv1.weight"][:3, :3, 1, 1] = eye
    state["body.0.conv1.bias"][:3] = -0.6 if limit == 1 else 1.0
    state["body.0.conv2.weight"][3:6, :3, 1, 1] = eye
    if limit > 1:
        state["body.0.conv1.weight"][3:6, :3, 1, 1] = eye
        state["body.0.conv2.weight"][3:6, 3:6, 1, 1] = -eye
    state["conv_after_body.weight"][:3, 3:6, 1, 1] = -eye
    state["upsample.0.weight"][:12, :3, 1, 1] = eye.repeat_interleave(4, 0)
    state["conv_last.weight"][:, :3, 1, 1] = eye
    return state


@pytest.mark.parametrize("limit", [1.0, 255.0])
@pytest.mark.parametrize("make", [_clipped_rfdn, _clipped_edsr])
@torch.no_grad()
def test_the_range_of_values_is_read_from_what_the_network_does(tmp_path, caplog, make, limit):
    """Files of the same names exist for 0..1 and for 0..255; read wrongly they gave 7.9 dB on Set5 without a word."""
    caplog.set_level("INFO")
    torch.save(make(limit), tmp_path / "official.pth")
    net = RFDN(2, n_feats=12, n_blocks=1) if make is _clipped_rfdn else EDSR(2, n_feats=6, n_resblocks=1)
    load_weights(net, tmp_path / "official.pth")
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(net(x), F.interpolate(x, scale_factor=2), atol=0.01, rtol=0)
    assert f"from 0 to {limit:.0f}: its output then agrees" in caplog.text
    assert "Likely causes" not in caplog.text


def test_third_party_weights_that_make_no_image_are_told_loudly(tmp_path, caplog):
    state = _clipped_edsr(255.0)
    state["conv_last.bias"] += 2000.0
    torch.save(state, tmp_path / "official.pth")
    load_weights(EDSR(2, n_feats=6, n_resblocks=1), tmp_path / "official.pth")
    assert "Likely causes: another range of values (0..1 or 0..255), order of colours (RGB or BGR)" in caplog.text


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


def test_another_mean_is_refused_unless_the_network_has_it(tmp_path):
    """RCAN's authors have a second mean, that of DIV2K and Flickr2K."""
    layers, mean = Layers(), (0.4690, 0.4490, 0.4036)
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        layers.shift(torch.zeros(1, 3, 1, 1), name, sign, mean=mean)
    edsr(layers, torch.rand(1, 3, 4, 4), 2, 1.0)
    torch.save(layers.state, tmp_path / "a.pth")
    with pytest.raises(
        UserError, match=r"other settings \(1\): model\.rgb_mean=\[0\.469, 0\.449, 0\.4036\], the network has"
    ):
        load_weights(EDSR(2, n_feats=6, n_resblocks=2), tmp_path / "a.pth")
    load_weights(EDSR(2, n_feats=6, n_resblocks=2, rgb_mean=mean), tmp_path / "a.pth")
    assert "'model.rgb_mean=[0.469,0.449,0.4036]'" in suggest_overrides(WeightsFile.read(tmp_path / "a.pth"))


@torch.no_grad()
def test_a_mean_shift_that_was_trained_gives_the_same_function(tmp_path):
    """RCAN sets `requires_grad` of the module, which freezes nothing."""
    layers, x = Layers(), torch.rand(1, 3, 9, 8, generator=torch.Generator().manual_seed(1))
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        layers.shift(torch.zeros(1, 3, 1, 1), name, sign)
        layers.state[f"{name}.weight"] += layers.draw("noise", 3, 3, 1, 1, std=0.05)
        layers.state[f"{name}.bias"] += layers.draw("more", 3, std=3.0)
    del layers.state["noise"], layers.state["more"]
    expected = edsr(layers, x, 2, 1.0)
    torch.save(layers.state, tmp_path / "a.pth")
    weight, bias = (layers.state[f"sub_mean.{kind}"].double() for kind in ("weight", "bias"))
    mean = -(weight.view(3, 3).inverse() @ bias) / 255
    net = EDSR(2, n_feats=6, n_resblocks=2, rgb_mean=mean.tolist())
    load_weights(net, tmp_path / "a.pth")
    agree(net(x), expected)


@pytest.mark.parametrize("value", [torch.zeros(3, 3, 1, 1), torch.ones(1, 1, 1, 1)], ids=["singular", "grey"])
def test_a_mean_shift_that_cannot_be_folded_is_refused(tmp_path, value):
    layers = Layers()
    edsr(layers, torch.rand(1, 3, 4, 4), 2, 1.0)
    torch.save(layers.state | {"sub_mean.weight": value}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: sub_mean and add_mean: allowed: 1x1 convolutions of RGB"):
        load_weights(EDSR(2, n_feats=6, n_resblocks=2), tmp_path / "a.pth")
    assert suggest_overrides(WeightsFile.read(tmp_path / "a.pth")) is None


def test_ninasrs_means_are_checked(tmp_path):
    layers = Layers()
    ninasr(layers, torch.rand(1, 3, 4, 4), 2)
    layers.state["head.0.bias"] = layers.state["head.0.bias"] * 2
    torch.save(layers.state, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"head\.0\.bias and tail\.2\.bias"):
        load_weights(NinaSR(2, n_feats=8, n_resblocks=3), tmp_path / "a.pth")


def test_real_esrgans_x2_network_is_another(tmp_path):
    """BasicSR's RRDBNet of scale 2 sees the image folded into 12 channels."""
    layers, x = Layers(), torch.rand(1, 12, 4, 4)
    for name in ("conv_first", "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"):
        layers.conv(x if name == "conv_first" else torch.rand(1, 4, 4, 4), name, 4)
    torch.save(layers.state, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"head\.weight \(4, 12, 3, 3\), the network has \(4, 3, 3, 3\)"):
        load_weights(RRDBNet(2, n_feats=4, n_blocks=0, growth=2), tmp_path / "a.pth")
