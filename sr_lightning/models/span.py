"""SPAN: Wan et al., Swift Parameter-free Attention Network for Efficient Super-Resolution, CVPRW 2024."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import DIV2K_MEAN, check_scale, conv, sub_pixel
from sr_lightning.models.conversion import LEVELS, Names, Official, State, on_unit_range, rename, sub_pixel_scale


class SPAN(SRNetwork):
    """Blocks with parameter-free attention, an odd function of the block's own output (fig. 2 and 3).

    Args:
        scale: Scale factor.
        n_feats: Number of channels: 52 in SPAN, 48 in SPAN-S.
        expansion: Expansion ratio of the convolutions during training; they are merged to plain 3x3 ones.
        rgb_mean: Subtracted from the input and added to the output; by default the mean of DIV2K.
    """

    def __init__(
        self, scale: int = 4, *, n_feats: int = 52, expansion: int = 2, rgb_mean: Sequence[float] = DIV2K_MEAN
    ) -> None:
        super().__init__()
        self.scales = (check_scale(scale),)
        self.register_buffer("rgb_mean", torch.tensor(rgb_mean).view(3, 1, 1), persistent=False)
        self.rgb_mean: Tensor
        self.head = MergedConv(3, n_feats, expansion)
        self.blocks = nn.ModuleList(_Block(n_feats, expansion) for _ in range(6))
        self.body = MergedConv(n_feats, n_feats, expansion)
        self.fusion = conv(4 * n_feats, n_feats, 1)
        self.tail = sub_pixel(n_feats, 3, scale)

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts the authors' names (hongyuanyu/SPAN), with input 255·(x - mean) and output in 0..1.

        Their network does not add the mean to its output, so it is subtracted from the last biases here. `eval_conv` is
        the merged form of the branches beside it. A file with `no_norm` expects the image unchanged.
        """
        if "conv_1.sk.weight" not in state:
            return None
        names: Names = {
            r"conv_1\.": "head.",
            r"conv_2\.": "body.",
            r"conv_cat\.": "fusion.",
            r"block_(\d)\.c(\d)_r\.": lambda m: f"blocks.{int(m[1]) - 1}.layers.{int(m[2]) - 1}.",
            r"upsampler\.": "tail.",
        }
        branches = {r"(.*)\.sk\.": r"\1.skip."}
        branches |= {rf"(.*)\.conv\.{i}\.": rf"\1.{ours}." for i, ours in enumerate(("expand", "conv", "reduce"))}
        kept = {key: value for key, value in state.items() if ".eval_conv." not in key and key != "no_norm"}
        ours = rename(rename(kept, names), branches)
        if "no_norm" in state:
            return Official(ours, {"rgb_mean": [0.0, 0.0, 0.0]})
        on_unit_range(ours, LEVELS, first=["head.skip", "head.expand"], last=None)
        bias = ours["tail.0.bias"].double()  # (3·s²,)
        ours["tail.0.bias"] = (bias.view(3, -1) - torch.tensor(DIV2K_MEAN).view(3, 1)).flatten().float()
        return Official(ours, {"rgb_mean": list(DIV2K_MEAN)})

    @staticmethod
    def infer(state: State) -> dict[str, Any]:
        """Infers arguments from shapes."""
        return {
            "scale": sub_pixel_scale(state, r"tail\.0\.weight", 3),
            "n_feats": state["head.skip.weight"].shape[0],
            "expansion": state["head.expand.weight"].shape[0] // 3,
        }

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, h, w) RGB in [0, 1] -> (N, 3, h·s, w·s)."""
        shallow = self.head(x - self.rgb_mean)
        features, found = shallow, []
        for block in self.blocks:
            features, inner = block(features)
            found.append((features, inner))
        # Shallow features, deep features, the first block's output and the last block's first features (fig. 2).
        kept = [shallow, self.body(features), found[0][0], found[-1][1]]
        y: Tensor = self.tail(self.fusion(torch.cat(kept, dim=1)))
        return y + self.rgb_mean


class MergedConv(nn.Module):
    """1x1, 3x3 and 1x1 convolutions parallel to a 1x1 skip, equivalent to one 3x3 convolution (section 3.3).

    As no activation lies between them, their kernels are multiplied before they are applied to the image, during
    training too: the result is the same, at the cost of one convolution.

    Args:
        n_in: Input channels.
        n_out: Output channels.
        expansion: Expansion ratio of the inner layers.
    """

    def __init__(self, n_in: int, n_out: int, expansion: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(n_in, n_out, 1)
        self.expand = nn.Conv2d(n_in, n_in * expansion, 1)
        self.conv = nn.Conv2d(n_in * expansion, n_out * expansion, 3)
        self.reduce = nn.Conv2d(n_out * expansion, n_out, 1)

    def merged(self) -> tuple[Tensor, Tensor]:
        """Returns kernel (n_out, n_in, 3, 3) and bias (n_out,) of the merged convolution."""
        expand, reduce = self.expand.weight[:, :, 0, 0], self.reduce.weight[:, :, 0, 0]
        kernel = torch.einsum("om,mnyx,ni->oiyx", reduce, self.conv.weight, expand)
        kernel = kernel + F.pad(self.skip.weight, (1, 1, 1, 1))
        inner = self.conv.weight.sum((-2, -1)) @ _bias(self.expand) + _bias(self.conv)
        return kernel, reduce @ inner + _bias(self.reduce) + _bias(self.skip)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, n_in, h, w) -> (N, n_out, h, w)."""
        kernel, bias = self.merged()
        return F.conv2d(x, kernel, bias, padding=1)


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


class _Block(nn.Module):
    def __init__(self, n_feats: int, expansion: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MergedConv(n_feats, n_feats, expansion) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # The authors' code activates these in place, so the features kept from the last block are activated too.
        first = F.silu(self.layers[0](x))
        last = self.layers[2](F.silu(self.layers[1](first)))
        attention = last.sigmoid() - 0.5
        return (last + x) * attention, first
