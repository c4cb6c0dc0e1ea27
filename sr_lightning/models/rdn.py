"""RDN: Zhang, Tian, Kong, Zhong and Fu, Residual Dense Network for Image Super-Resolution, CVPR 2018."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import check_scale, conv, tail
from sr_lightning.models.conversion import (
    LEVELS,
    Names,
    Official,
    State,
    count,
    on_unit_range,
    rename,
    shuffle_names,
    sub_pixel_scale,
)
from sr_lightning.models.initialisation import RESIDUAL, kaiming_


class RDN(SRNetwork):
    """Residual dense blocks with global fusion of their outputs (fig. 2). The defaults are the paper's D16-C8-G64.

    Args:
        scale: Scale factor.
        n_feats: G0, number of channels between blocks.
        n_blocks: D, number of residual dense blocks.
        n_layers: C, number of convolutions in a block.
        growth: G, number of channels added by each convolution.
    """

    def __init__(
        self, scale: int = 4, *, n_feats: int = 64, n_blocks: int = 16, n_layers: int = 8, growth: int = 64
    ) -> None:
        super().__init__()
        self.scales = (check_scale(scale),)
        self.shallow1 = conv(3, n_feats)
        self.shallow2 = conv(n_feats, n_feats)
        self.blocks = nn.ModuleList(_DenseBlock(n_feats, n_layers, growth) for _ in range(n_blocks))
        self.fusion = nn.Sequential(conv(n_blocks * n_feats, n_feats, 1), conv(n_feats, n_feats))
        self.tail = tail(n_feats, 3, scale, upsampler="pixelshuffle", act="relu")

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts the names of yjn870 (also torchSR), on 0..1, and of EDSR-PyTorch, on 0..255."""
        if "sfe1.weight" in state:
            names: Names = {
                r"sfe(\d)\.": r"shallow\1.",
                r"rdbs\.(\d+)\.layers\.(\d+)\.conv\.": r"blocks.\1.layers.\2.",
                r"rdbs\.(\d+)\.lff\.": r"blocks.\1.fusion.",
                r"gff\.": "fusion.",
                **shuffle_names(state, "upscale", "output"),
            }
        elif "SFENet1.weight" in state:
            last = 2 * (count(state, "UPNet") - 1)  # the upsampler's list includes the last convolution
            names = {
                r"SFENet(\d)\.": r"shallow\1.",
                r"RDBs\.(\d+)\.convs\.(\d+)\.conv\.0\.": r"blocks.\1.layers.\2.",
                r"RDBs\.(\d+)\.LFF\.": r"blocks.\1.fusion.",
                r"GFF\.": "fusion.",
                rf"UPNet\.{last}\.": f"tail.{last // 2}.",
                r"UPNet\.(\d+)\.": lambda m: f"tail.{int(m[1]) // 2}.0.",
            }
        else:
            return None
        ours = rename(state, names)
        if "SFENet1.weight" not in state:
            return Official(ours, {})
        on_levels = dict(ours)
        on_unit_range(on_levels, LEVELS, first=["shallow1"], last=f"tail.{count(ours, 'tail') - 1}")
        return Official(on_levels, {}, (ours,))

    @staticmethod
    def infer(state: State) -> dict[str, Any]:
        """Infers arguments from shapes."""
        return {
            "scale": sub_pixel_scale(state, r"tail\.\d+\.0\.weight"),
            "n_feats": state["shallow1.weight"].shape[0],
            "n_blocks": count(state, "blocks"),
            "n_layers": count(state, "blocks.0.layers"),
            "growth": state["blocks.0.layers.0.weight"].shape[0],
        }

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, h, w) RGB in [0, 1] -> (N, 3, h·s, w·s)."""
        shallow = self.shallow1(x)
        features, found = self.shallow2(shallow), []
        for block in self.blocks:
            features = block(features)
            found.append(features)
        y: Tensor = self.tail(self.fusion(torch.cat(found, dim=1)) + shallow)
        return y


class _DenseBlock(nn.Module):
    """Densely connected convolutions, local fusion and a local residual (eq. 5 to 7)."""

    def __init__(self, n_feats: int, n_layers: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(conv(n_feats + i * growth, growth) for i in range(n_layers))
        self.fusion = kaiming_(conv(n_feats + n_layers * growth, n_feats, 1), scale=RESIDUAL)

    def forward(self, x: Tensor) -> Tensor:
        features = x
        for layer in self.layers:
            features = torch.cat([features, layer(features).relu()], dim=1)
        residual: Tensor = self.fusion(features)
        return x + residual
