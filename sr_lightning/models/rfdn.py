"""RFDN: Liu, Tang and Wu, Residual Feature Distillation Network for Lightweight Image SR, ECCVW 2020."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import check_scale, conv, sub_pixel
from sr_lightning.models.conversion import LEVELS, Names, Official, State, count, on_unit_range, rename, sub_pixel_scale

_SLOPE = 0.05
_ATTENTION_NAMES = {
    "conv1": "reduce",
    "conv_f": "skip",
    "conv2": "stride",
    "conv_max": "wide.0",
    "conv3": "wide.2",
    "conv3_": "wide.4",
    "conv4": "expand",
}


class RFDN(SRNetwork):
    """Feature distillation by 1x1 convolutions, shallow residual blocks, spatial attention (fig. 3 and 4).

    The defaults are those of the network that won the AIM 2020 challenge (433 K parameters at x4).

    Args:
        scale: Scale factor.
        n_feats: Number of channels.
        n_blocks: Number of residual feature distillation blocks.
    """

    min_size = 15  # the attention's strided convolution and pooling need seven positions

    def __init__(self, scale: int = 4, *, n_feats: int = 50, n_blocks: int = 4) -> None:
        super().__init__()
        self.scales = (check_scale(scale),)
        self.head = conv(3, n_feats)
        self.blocks = nn.ModuleList(_Block(n_feats) for _ in range(n_blocks))
        self.fusion = nn.Sequential(conv(n_feats * n_blocks, n_feats, 1), nn.LeakyReLU(_SLOPE, inplace=True))
        self.body = conv(n_feats, n_feats)
        self.tail = sub_pixel(n_feats, 3, scale)

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts the authors' names (njulj/RFDN), on 0..255, with 0..1 (other implementations) as the alternative."""
        if "B1.c1_d.weight" not in state:
            return None

        def block(match: re.Match[str]) -> str:
            return f"blocks.{int(match[1]) - 1}."

        names: Names = {
            r"fea_conv\.": "head.",
            r"B(\d+)\.c([123])_d\.": lambda m: f"{block(m)}distil.{int(m[2]) - 1}.",
            r"B(\d+)\.c([123])_r\.": lambda m: f"{block(m)}refine.{int(m[2]) - 1}.",
            r"B(\d+)\.c4\.": lambda m: f"{block(m)}last.",
            r"B(\d+)\.c5\.": lambda m: f"{block(m)}fusion.",
            r"B(\d+)\.esa\.(\w+)\.": lambda m: f"{block(m)}attention.{_ATTENTION_NAMES[m[2]]}.",
            r"c\.": "fusion.",
            r"LR_conv\.": "body.",
            r"upsampler\.": "tail.",
        }
        on_unit = rename(state, names)
        on_levels = dict(on_unit)
        on_unit_range(on_levels, LEVELS, first=["head"], last="tail.0")
        return Official(on_levels, {}, (on_unit,))

    @staticmethod
    def infer(state: State) -> dict[str, Any]:
        """Infers arguments from shapes."""
        return {
            "scale": sub_pixel_scale(state, r"tail\.0\.weight", 3),
            "n_feats": state["head.weight"].shape[0],
            "n_blocks": count(state, "blocks"),
        }

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, h, w) RGB in [0, 1], with sides of at least 15 pixels -> (N, 3, h·s, w·s)."""
        shallow = self.head(x)
        features, found = shallow, []
        for block in self.blocks:
            features = block(features)
            found.append(features)
        y: Tensor = self.tail(self.body(self.fusion(torch.cat(found, dim=1))) + shallow)
        return y


class SpatialAttention(nn.Module):
    """Enhanced spatial attention (Liu et al., CVPR 2020), as in RFDN: a large receptive field at low resolution."""

    def __init__(self, n_feats: int) -> None:
        super().__init__()
        narrow = max(1, n_feats // 4)
        self.reduce = conv(n_feats, narrow, 1)
        self.skip = conv(narrow, narrow, 1)
        self.stride = nn.Conv2d(narrow, narrow, 3, stride=2)
        self.wide = nn.Sequential(
            conv(narrow, narrow),
            nn.ReLU(inplace=True),
            conv(narrow, narrow),
            nn.ReLU(inplace=True),
            conv(narrow, narrow),
        )
        self.expand = conv(narrow, n_feats, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, n_feats, h, w) -> the same shape."""
        reduced = self.reduce(x)
        wide = self.wide(F.max_pool2d(self.stride(reduced), kernel_size=7, stride=3))
        wide = F.interpolate(wide, x.shape[-2:], mode="bilinear", align_corners=False)
        gate: Tensor = self.expand(wide + self.skip(reduced)).sigmoid()
        return x * gate


class _Block(nn.Module):
    def __init__(self, n_feats: int) -> None:
        super().__init__()
        half = n_feats // 2
        self.distil = nn.ModuleList(conv(n_feats, half, 1) for _ in range(3))
        self.refine = nn.ModuleList(conv(n_feats, n_feats) for _ in range(3))
        self.last = conv(n_feats, half)
        self.fusion = conv(half * 4, n_feats, 1)
        self.attention = SpatialAttention(n_feats)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for distil, refine in zip(self.distil, self.refine, strict=True):
            found.append(F.leaky_relu(distil(x), _SLOPE))
            x = F.leaky_relu(refine(x) + x, _SLOPE)
        found.append(F.leaky_relu(self.last(x), _SLOPE))
        y: Tensor = self.attention(self.fusion(torch.cat(found, dim=1)))
        return y
