"""Published networks as short functions in torch.nn.functional, over weights with published names.

What the released networks' code does beyond their papers is noted beside it.
"""

import torch
from torch.nn import functional as F

from sr_lightning.image.resize import enlarge

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


def agree(ours, theirs):
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.02
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
