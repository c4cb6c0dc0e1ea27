"""EDSR: Lim, Son, Kim, Nah and Lee, Enhanced Deep Residual Networks for Single Image SR, CVPRW 2017."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sr_lightning.errors import UserError
from sr_lightning.image.resize import enlarge
from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import DIV2K_MEAN, Activation, ResBlock, Upsampling, check_scale, conv, tail
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
from sr_lightning.models.initialisation import zero_last_conv_

_BT601 = (65.481 / 255, 128.553 / 255, 24.966 / 255)  # Y from RGB in [0, 1], without its offset of 16


class EDSR(SRNetwork):
    """Residual blocks without batch normalisation, a global skip connection, sub-pixel upsampling (fig. 3).

    The defaults are the paper's baseline (table 1).

    Args:
        scale: Scale factor.
        n_feats: F, number of channels.
        n_resblocks: B, number of residual blocks.
        res_scale: Residual scaling (section 3.3); 0.1 in the paper's full network.
        activation: Activation function; ReLU in the paper.
        upsampler: See `blocks.tail`; `pixelshuffle` in the paper.
        global_skip: `bicubic` adds the bicubically upscaled input and initialises the last convolution to zero, so that
            the untrained network equals bicubic interpolation. The paper has no such skip.
        rgb_mean: Subtracted from the input, and added to the output if there is no global skip: the mean of DIV2K
            (section 4.2).
        channels: 3 for RGB as in the paper; 1 for Y, as in earlier small networks, so that no parameters are spent on
            colour.
        n_recursions: Number of passes through the residual blocks with shared weights (Kim et al. 2016, DRCN, section
            3; Tai et al. 2017, DRRN, section 3.2): a deeper network with the same number of parameters.

    Raises:
        UserError: `channels` is neither 1 nor 3, or `n_recursions` is below 1.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        n_feats: int = 64,
        n_resblocks: int = 16,
        res_scale: float = 1.0,
        activation: Activation = "relu",
        upsampler: Upsampling = "pixelshuffle",
        global_skip: Literal["none", "bicubic"] = "none",
        rgb_mean: Sequence[float] = DIV2K_MEAN,
        channels: int = 3,
        n_recursions: int = 1,
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise UserError(f"model.channels: found {channels}, allowed: 1 (Y) or 3 (RGB)")
        if n_recursions < 1:
            raise UserError(f"model.n_recursions: found {n_recursions}, allowed: 1 and more")
        self.n_recursions = n_recursions
        self.channels = channels
        self.scales = (check_scale(scale),)
        self.global_skip = global_skip
        self.rgb_mean = tuple(rgb_mean)
        mean = torch.tensor(self.rgb_mean).view(3, 1, 1)
        if channels == 1:
            mean = (mean * torch.tensor(_BT601).view(3, 1, 1)).sum(0, keepdim=True) + 16 / 255  # (1, 1, 1)
        # Not persistent: it is part of the architecture, and official weights lack such an entry.
        self.register_buffer("mean", mean, persistent=False)
        self.mean: Tensor
        self.head = conv(channels, n_feats)
        blocks = [ResBlock(n_feats, act=activation, res_scale=res_scale) for _ in range(n_resblocks)]
        self.body = nn.Sequential(*blocks, conv(n_feats, n_feats))
        self.tail = tail(n_feats, channels, scale, upsampler=upsampler, act=activation)
        if global_skip == "bicubic":
            zero_last_conv_(self.tail)

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts the names of EDSR-PyTorch (the authors' code; also torchSR) and of BasicSR.

        The authors' networks use values of 0..255, with the mean shift in the file. BasicSR's files do not specify the
        range, but all released ones use 0..255 too. Neither stores `res_scale`: it is 0.1 for 256 channels.
        """
        if "head.0.weight" in state:
            rest, shift = split_mean_shift(state)
            names: Names = {r"head\.0\.": "head.", **shuffle_names(rest, r"tail\.0", r"tail\.1")}
        elif "conv_after_body.weight" in state:
            rest, shift = dict(state), None
            names = {
                r"conv_first\.": "head.",
                r"body\.(\d+)\.conv1\.": r"body.\1.body.0.",
                r"body\.(\d+)\.conv2\.": r"body.\1.body.2.",
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
        direct, channels = count(state, "tail") == 1, state["head.weight"].shape[1]
        return {
            "scale": sub_pixel_scale(state, r"tail\.\d+\.0\.weight", channels if direct else None),
            "n_feats": state["head.weight"].shape[0],
            "n_resblocks": count(state, "body") - 1,
            "upsampler": "pixelshuffle_direct" if direct else "pixelshuffle",
            "channels": channels,
        }

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, h, w) RGB or Y in [0, 1] -> (N, C, h·s, w·s)."""
        features = deep = self.head(x - self.mean)
        *blocks, last = self.body
        for _ in range(self.n_recursions):
            for block in blocks:
                deep = block(deep)
        y: Tensor = self.tail(features + last(deep))
        return y + (enlarge(x, self.scales[0]) if self.global_skip == "bicubic" else self.mean)
