"""NinaSR: Gouvine 2021, a small network with local channel attention (torchSR, README of its models)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_lightning.errors import UserError
from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import DIV2K_MEAN, check_scale, conv
from sr_lightning.models.conversion import Names, Official, State, count, rename, sub_pixel_scale
from sr_lightning.models.initialisation import icnr_, kaiming_


class NinaSR(SRNetwork):
    """Wide-activation residual blocks with locally pooled attention, scaled to preserve the variance.

    B0: 10 blocks with 16 channels (0.1 M parameters); B1: 26 with 32 (1.0 M); B2: 84 with 56 (10 M).

    Args:
        scale: Scale factor.
        n_feats: Number of channels between blocks.
        n_resblocks: Number of residual blocks.
        expansion: Expansion ratio of the channels inside a block.
        rgb_mean: Subtracted from the input and added to the output; by default the mean of DIV2K.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        n_feats: int = 16,
        n_resblocks: int = 10,
        expansion: float = 2.0,
        rgb_mean: Sequence[float] = DIV2K_MEAN,
    ) -> None:
        super().__init__()
        self.scales = (check_scale(scale),)
        self.register_buffer("rgb_mean", torch.tensor(rgb_mean).view(3, 1, 1), persistent=False)
        self.rgb_mean: Tensor
        self.head = kaiming_(nn.Conv2d(3, n_feats, 3, padding=1, bias=False))
        out_scale = 4 / n_resblocks
        # Each block adds out_scale² to a variance of 1; its input is divided by the accumulated standard deviation.
        self.body = nn.Sequential(
            *(
                _Block(n_feats, int(n_feats * expansion), 1 / math.sqrt(1 + i * out_scale**2), out_scale)
                for i in range(n_resblocks)
            )
        )
        self.tail = nn.Sequential(icnr_(nn.Conv2d(n_feats, 3 * scale**2, 3, padding=1), scale), nn.PixelShuffle(scale))

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts the author's names (torchSR), on 0..1; the mean is a bias at input and output."""
        if "head.1.weight" not in state or "tail.2.bias" not in state:
            return None
        mean = state["tail.2.bias"].flatten()
        if mean.shape != (3,) or "head.0.bias" not in state or not torch.equal(state["head.0.bias"].flatten(), -mean):
            raise UserError("head.0.bias and tail.2.bias: allowed: a mean that is subtracted and added again")
        kept = {key: value for key, value in state.items() if key not in ("head.0.bias", "tail.2.bias")}
        names: Names = {
            r"head\.1\.": "head.",
            # There the pooling counts as the first layer of the attention.
            r"body\.(\d+)\.body\.2\.body\.(\d)\.": lambda m: f"body.{m[1]}.body.2.gate.{int(m[2]) - 1}.",
        }
        return Official(rename(kept, names), {"rgb_mean": [round(value, 6) for value in mean.tolist()]})

    @staticmethod
    def infer(state: State) -> dict[str, Any]:
        """Infers arguments from shapes."""
        n_feats = state["head.weight"].shape[0]
        return {
            "scale": sub_pixel_scale(state, r"tail\.0\.weight", 3),
            "n_feats": n_feats,
            "n_resblocks": count(state, "body"),
            "expansion": state["body.0.body.0.weight"].shape[0] / n_feats,
        }

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, h, w) RGB in [0, 1] -> (N, 3, h·s, w·s)."""
        features = self.head(x - self.rgb_mean)
        y: Tensor = self.tail(features + self.body(features))
        return y + self.rgb_mean


class LocalAttention(nn.Module):
    """Channel attention from means over neighbourhoods of 31 pixels, with one gate per 16x16 pixels.

    Unlike a global mean, it does not depend on the image size or on tiling.
    """

    def __init__(self, n_feats: int, reduction: int = 4, stride: int = 16) -> None:
        super().__init__()
        self.stride = stride
        self.pool = nn.AvgPool2d(2 * stride - 1, stride=stride, padding=stride - 1, count_include_pad=False)
        self.gate = nn.Sequential(
            conv(n_feats, n_feats // reduction, 1),
            nn.ReLU(inplace=True),
            conv(n_feats // reduction, n_feats, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, n_feats, h, w) -> the same shape."""
        gate = F.interpolate(self.gate(self.pool(x)), scale_factor=float(self.stride), mode="nearest")
        height, width = x.shape[-2:]
        if torch.compiler.is_exporting():  # it cannot infer that the gates cover every size
            for axis, side in ((-2, height), (-1, width)):
                gate = gate.index_select(axis, torch.arange(side, device=x.device))
        return x * gate[..., :height, :width]


class _Block(nn.Module):
    def __init__(self, n_feats: int, wide: int, in_scale: float, out_scale: float) -> None:
        super().__init__()
        self.in_scale, self.out_scale = in_scale, out_scale
        last = kaiming_(nn.Conv2d(wide, n_feats, 3, padding=1, bias=False))
        self.body = nn.Sequential(conv(n_feats, wide), nn.ReLU(inplace=True), LocalAttention(wide), last)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.body(x * self.in_scale)
        return x + residual * (2 * self.out_scale)  # the attention's gates start near 0.5
