"""MDSR: the multi-scale network of Lim et al., CVPRW 2017, section 3.4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import (
    DIV2K_MEAN,
    Activation,
    ResBlock,
    check_scales,
    choose_scale,
    conv,
    stages,
    sub_pixel,
    to_image,
)
from sr_lightning.models.conversion import (
    Names,
    Official,
    State,
    count,
    fold_mean_shift,
    rename,
    split_mean_shift,
    sub_pixel_scale,
)


class MDSR(SRNetwork):
    """A shared body, with scale-specific pre-processing before and upsampling after it (fig. 5).

    The defaults are the paper's full network (table 1); `n_resblocks=16` is its baseline.

    Args:
        scales: One or several scales.
        n_feats: Number of channels.
        n_resblocks: Number of residual blocks in the shared body.
        res_scale: Residual scaling.
        activation: Activation function; ReLU in the paper.
        rgb_mean: Subtracted from the input and added to the output; by default the mean of DIV2K.
    """

    def __init__(
        self,
        scales: int | Sequence[int] = (2, 3, 4),
        *,
        n_feats: int = 64,
        n_resblocks: int = 80,
        res_scale: float = 1.0,
        activation: Activation = "relu",
        rgb_mean: Sequence[float] = DIV2K_MEAN,
    ) -> None:
        super().__init__()
        self.scales = check_scales(scales)
        self.register_buffer("rgb_mean", torch.tensor(rgb_mean).view(3, 1, 1), persistent=False)
        self.rgb_mean: Tensor

        def block(kernel_size: int) -> ResBlock:
            return ResBlock(n_feats, kernel_size=kernel_size, act=activation, res_scale=res_scale)

        self.head = conv(3, n_feats)
        # Two 5x5 blocks reduce the variance between images of different scales (section 3.4).
        self.pre = nn.ModuleDict({str(s): nn.Sequential(block(5), block(5)) for s in self.scales})
        self.body = nn.Sequential(*(block(3) for _ in range(n_resblocks)), conv(n_feats, n_feats))
        self.upsample = nn.ModuleDict(
            {str(s): nn.Sequential(*(sub_pixel(n_feats, n_feats, stage) for stage in stages(s))) for s in self.scales}
        )
        self.tail = to_image(n_feats, 3)

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts EDSR-PyTorch's names, on 0..255, where lists have one entry per scale."""
        if "pre_process.0.0.body.0.weight" not in state:
            return None
        rest, shift = split_mean_shift(state)
        scales = [sub_pixel_scale(rest, rf"upsample\.{i}\.\d+\.weight") for i in range(count(rest, "upsample"))]
        names: Names = {
            r"head\.0\.": "head.",
            r"pre_process\.(\d+)\.": lambda m: f"pre.{scales[int(m[1])]}.",
            r"upsample\.(\d+)\.(\d+)\.": lambda m: f"upsample.{scales[int(m[1])]}.{int(m[2]) // 2}.0.",
            r"tail\.0\.": "tail.",
        }
        ours = rename(rest, names)
        mean = fold_mean_shift(ours, shift, first="head", last="tail")
        return Official(ours, {"rgb_mean": mean})

    @staticmethod
    def infer(state: State) -> dict[str, Any]:
        """Infers arguments from shapes."""
        return {
            "scales": sorted({int(key.split(".")[1]) for key in state if key.startswith("pre.")}),
            "n_feats": state["head.weight"].shape[0],
            "n_resblocks": count(state, "body") - 1,
        }

    def forward(self, x: Tensor, scale: int | None = None) -> Tensor:
        """Maps (N, 3, h, w) RGB in [0, 1] -> (N, 3, h·s, w·s)."""
        key = str(choose_scale(self.scales, scale))
        features = self.pre[key](self.head(x - self.rgb_mean))
        features = features + self.body(features)
        y: Tensor = self.tail(self.upsample[key](features))
        return y + self.rgb_mean
