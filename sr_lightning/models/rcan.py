"""RCAN: Zhang et al., Image Super-Resolution Using Very Deep Residual Channel Attention Networks, ECCV 2018."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import DIV2K_MEAN, check_scale, conv, tail
from sr_lightning.models.conversion import (
    Names,
    Official,
    State,
    count,
    fold_either_range,
    rename,
    shuffle_names,
    split_mean_shift,
    sub_pixel_scale,
)
from sr_lightning.models.initialisation import RESIDUAL, kaiming_


class RCAN(SRNetwork):
    """Residual groups of channel attention blocks (fig. 2). The defaults are the paper's.

    Args:
        scale: Scale factor.
        n_feats: Number of channels.
        n_groups: G, number of residual groups.
        n_blocks: B, number of attention blocks in a group.
        reduction: r, reduction ratio of the attention's bottleneck.
        rgb_mean: Subtracted from the input and added to the output; by default the mean of DIV2K.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        n_feats: int = 64,
        n_groups: int = 10,
        n_blocks: int = 20,
        reduction: int = 16,
        rgb_mean: Sequence[float] = DIV2K_MEAN,
    ) -> None:
        super().__init__()
        self.scales = (check_scale(scale),)
        self.register_buffer("rgb_mean", torch.tensor(rgb_mean).view(3, 1, 1), persistent=False)
        self.rgb_mean: Tensor
        self.head = conv(3, n_feats)
        groups = [_Group(n_feats, n_blocks, reduction) for _ in range(n_groups)]
        self.body = nn.Sequential(*groups, conv(n_feats, n_feats))
        self.tail = tail(n_feats, 3, scale, upsampler="pixelshuffle", act="relu")

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts the names of the authors (yulunzhang/RCAN; also torchSR) and of BasicSR, on 0..255 as in `EDSR`."""
        if "head.0.weight" in state:
            rest, shift = split_mean_shift(state)
            attention = {r"(body\.\d+\.body\.\d+\.body\.3)\.conv_du\.": r"\1.gate."}
            names: Names = {r"head\.0\.": "head.", **attention, **shuffle_names(rest, r"tail\.0", r"tail\.1")}
        elif "body.0.residual_group.0.rcab.0.weight" in state:
            rest, shift = dict(state), None
            block = r"body\.(\d+)\.residual_group\.(\d+)\.rcab\."
            names = {
                r"conv_first\.": "head.",
                # There the pooling counts as the first layer of the attention.
                rf"{block}3\.attention\.(\d)\.": lambda m: f"body.{m[1]}.body.{m[2]}.body.3.gate.{int(m[3]) - 1}.",
                block: r"body.\1.body.\2.body.",
                r"body\.(\d+)\.conv\.": rf"body.\1.body.{count(state, 'body.0.residual_group')}.",
                r"conv_after_body\.": f"body.{count(state, 'body')}.",
                **shuffle_names(rest, "upsample", "conv_last"),
            }
        else:
            return None
        ours = rename(rest, names)
        return fold_either_range(ours, shift, first="head", last=f"tail.{count(ours, 'tail') - 1}")

    @staticmethod
    def infer(state: State) -> dict[str, Any]:
        """Infers arguments from shapes."""
        n_feats = state["head.weight"].shape[0]
        return {
            "scale": sub_pixel_scale(state, r"tail\.\d+\.0\.weight"),
            "n_feats": n_feats,
            "n_groups": count(state, "body") - 1,
            "n_blocks": count(state, "body.0.body") - 1,
            "reduction": n_feats // state["body.0.body.0.body.3.gate.0.weight"].shape[0],
        }

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, h, w) RGB in [0, 1] -> (N, 3, h·s, w·s)."""
        features = self.head(x - self.rgb_mean)
        y: Tensor = self.tail(features + self.body(features))
        return y + self.rgb_mean


class ChannelAttention(nn.Module):
    """Scales each channel by a gate computed from the means of all channels (section 3.3)."""

    def __init__(self, n_feats: int, reduction: int) -> None:
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
        gate: Tensor = self.gate(x.mean((-2, -1), keepdim=True))
        return x * gate


class _Block(nn.Module):
    def __init__(self, n_feats: int, reduction: int) -> None:
        super().__init__()
        last = kaiming_(conv(n_feats, n_feats), scale=RESIDUAL)
        attention = ChannelAttention(n_feats, reduction)
        self.body = nn.Sequential(conv(n_feats, n_feats), nn.ReLU(inplace=True), last, attention)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.body(x)
        return x + residual


class _Group(nn.Module):
    def __init__(self, n_feats: int, n_blocks: int, reduction: int) -> None:
        super().__init__()
        blocks = [_Block(n_feats, reduction) for _ in range(n_blocks)]
        self.body = nn.Sequential(*blocks, kaiming_(conv(n_feats, n_feats), scale=RESIDUAL))

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.body(x)
        return x + residual
