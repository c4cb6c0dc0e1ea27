"""IMDN: Hui, Gao, Yang and Wang, Lightweight Image SR with Information Multi-Distillation Network, ACM MM 2019."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import check_scale, conv, sub_pixel
from sr_lightning.models.conversion import Names, Official, State, count, rename, sub_pixel_scale
from sr_lightning.models.initialisation import RESIDUAL, kaiming_

_SLOPE = 0.05


class IMDN(SRNetwork):
    """Blocks that split off some of their channels at each step and fuse them at the end (fig. 2).

    Args:
        scale: Scale factor.
        n_feats: Number of channels.
        n_blocks: Number of information multi-distillation blocks.
    """

    def __init__(self, scale: int = 4, *, n_feats: int = 64, n_blocks: int = 6) -> None:
        super().__init__()
        self.scales = (check_scale(scale),)
        self.head = conv(3, n_feats)
        self.blocks = nn.ModuleList(_Block(n_feats) for _ in range(n_blocks))
        self.fusion = nn.Sequential(conv(n_feats * n_blocks, n_feats, 1), nn.LeakyReLU(_SLOPE, inplace=True))
        self.body = conv(n_feats, n_feats)
        self.tail = sub_pixel(n_feats, 3, scale)

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts the authors' names (Zheng222/IMDN), on 0..1."""
        if "IMDB1.c1.weight" not in state:
            return None

        def block(match: re.Match[str]) -> str:
            return f"blocks.{int(match[1]) - 1}."

        names: Names = {
            r"fea_conv\.": "head.",
            r"IMDB(\d+)\.c([123])\.": lambda m: f"{block(m)}steps.{int(m[2]) - 1}.",
            r"IMDB(\d+)\.c4\.": lambda m: f"{block(m)}last.",
            r"IMDB(\d+)\.c5\.": lambda m: f"{block(m)}fusion.",
            r"IMDB(\d+)\.cca\.conv_du\.": lambda m: f"{block(m)}attention.gate.",
            r"c\.": "fusion.",
            r"LR_conv\.": "body.",
            r"upsampler\.": "tail.",
        }
        return Official(rename(state, names), {})

    @staticmethod
    def infer(state: State) -> dict[str, Any]:
        """Infers arguments from shapes."""
        return {
            "scale": sub_pixel_scale(state, r"tail\.0\.weight", 3),
            "n_feats": state["head.weight"].shape[0],
            "n_blocks": count(state, "blocks"),
        }

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, h, w) RGB in [0, 1] -> (N, 3, h·s, w·s)."""
        shallow = self.head(x)
        features, found = shallow, []
        for block in self.blocks:
            features = block(features)
            found.append(features)
        y: Tensor = self.tail(self.body(self.fusion(torch.cat(found, dim=1))) + shallow)
        return y


class ContrastAttention(nn.Module):
    """Channel attention from each channel's mean plus standard deviation (section 3.3)."""

    def __init__(self, n_feats: int, reduction: int = 16) -> None:
        super().__init__()
        narrow = max(1, n_feats // reduction)
        self.gate = nn.Sequential(
            conv(n_feats, narrow, 1),
            nn.ReLU(inplace=True),
            conv(narrow, n_feats, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, n_feats, h, w) -> the same shape."""
        variance, mean = torch.var_mean(x, dim=(-2, -1), correction=0, keepdim=True)
        # The square root has no finite slope at 0, which occurs in flat images.
        gate: Tensor = self.gate((variance + 1e-10).sqrt() + mean)
        return x * gate


class _Block(nn.Module):
    """Three steps, each of which retains a quarter of the channels and refines the rest (table 1)."""

    def __init__(self, n_feats: int) -> None:
        super().__init__()
        self.kept = n_feats // 4
        rest = n_feats - self.kept
        self.steps = nn.ModuleList(conv(size, n_feats) for size in (n_feats, rest, rest))
        self.last = conv(rest, self.kept)
        self.attention = ContrastAttention(self.kept * 4)
        self.fusion = kaiming_(conv(self.kept * 4, n_feats, 1), scale=RESIDUAL)

    def forward(self, x: Tensor) -> Tensor:
        rest, found = x, []
        for step in self.steps:
            features = nn.functional.leaky_relu(step(rest), _SLOPE)
            kept, rest = features[:, : self.kept], features[:, self.kept :]
            found.append(kept)
        found.append(self.last(rest))
        residual: Tensor = self.fusion(self.attention(torch.cat(found, dim=1)))
        return x + residual
