"""RRDBNet, the generator of ESRGAN: Wang et al., Enhanced Super-Resolution GANs, ECCVW 2018."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import NearestConv, check_scale, conv, to_image
from sr_lightning.models.conversion import Names, Official, State, count, rename
from sr_lightning.models.initialisation import RESIDUAL, kaiming_

_RESIDUAL_SCALING = 0.2


class RRDBNet(SRNetwork):
    """Residual-in-residual dense blocks, nearest-neighbour upsampling (section 3.1, fig. 4).

    All convolutions of the blocks use He initialisation times 0.1 (section 3.1). The defaults are the paper's.

    Args:
        scale: Scale factor; 4 in the paper.
        n_feats: Number of channels between blocks.
        n_blocks: Number of RRDBs, each of three dense blocks.
        growth: Number of channels added by each convolution of a dense block.
    """

    def __init__(self, scale: int = 4, *, n_feats: int = 64, n_blocks: int = 23, growth: int = 32) -> None:
        super().__init__()
        self.scales = (check_scale(scale),)
        self.head = conv(3, n_feats)
        self.body = nn.Sequential(*(_RRDB(n_feats, growth) for _ in range(n_blocks)), conv(n_feats, n_feats))
        self.upsample = NearestConv(n_feats, scale, "leaky_relu")
        self.tail = nn.Sequential(conv(n_feats, n_feats), nn.LeakyReLU(0.2, inplace=True), to_image(n_feats, 3))

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts the names of ESRGAN, old (`model.…`) and new (`RRDB_trunk.…`; BSRGAN), and BasicSR (Real-ESRGAN).

        BasicSR's x1 and x2 networks first apply pixel unshuffling to the image, which this network does not.
        """
        if "model.0.weight" in state:
            n = count(state, "model.1.sub") - 1
            stages_end = 3 * (count(state, "model") - 4)  # 0, 1, one for each stage, and the last two
            names: Names = {
                r"model\.0\.": "head.",
                rf"model\.1\.sub\.{n}\.": f"body.{n}.",
                r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.": _layer_name,
                rf"model\.{stages_end + 2}\.": "tail.0.",
                rf"model\.{stages_end + 4}\.": "tail.2.",
                r"model\.(\d+)\.": lambda m: f"upsample.{int(m[1]) - 2}.",
            }
        elif "conv_first.weight" in state:
            n = count(state, "RRDB_trunk") or count(state, "body")
            names = {
                r"conv_first\.": "head.",
                r"(?:RRDB_trunk|body)\.(\d+)\.(?:RDB|rdb)(\d)\.conv(\d)\.": _layer_name,
                r"(?:trunk_conv|conv_body)\.": f"body.{n}.",
                r"(?:upconv|conv_up)(\d)\.": lambda m: f"upsample.{3 * int(m[1]) - 2}.",
                r"(?:HRconv|conv_hr)\.": "tail.0.",
                r"conv_last\.": "tail.2.",
            }
        else:
            return None
        return Official(rename(state, names), {})

    @staticmethod
    def infer(state: State) -> dict[str, Any]:
        """Infers arguments from shapes; a single upsampling stage is assumed to be x2."""
        return {
            "scale": 2 ** count(state, "upsample"),
            "n_feats": state["head.weight"].shape[0],
            "n_blocks": count(state, "body") - 1,
            "growth": state["body.0.body.0.layers.0.weight"].shape[0],
        }

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, h, w) RGB in [0, 1] -> (N, 3, h·s, w·s)."""
        features = self.head(x)
        y: Tensor = self.tail(self.upsample(features + self.body(features)))
        return y


def _layer_name(match: re.Match[str]) -> str:
    """Returns our name of an RRDB's convolution; dense blocks and convolutions are numbered from 1 in the match."""
    return f"body.{match[1]}.body.{int(match[2]) - 1}.layers.{int(match[3]) - 1}."


class _DenseBlock(nn.Module):
    def __init__(self, n_feats: int, growth: int) -> None:
        super().__init__()
        sizes = [growth] * 4 + [n_feats]
        self.layers = nn.ModuleList(
            kaiming_(conv(n_feats + i * growth, size), scale=RESIDUAL) for i, size in enumerate(sizes)
        )

    def forward(self, x: Tensor) -> Tensor:
        features = x
        for layer in self.layers[:-1]:
            new = nn.functional.leaky_relu(layer(features), 0.2)
            features = torch.cat([features, new], dim=1)
        residual: Tensor = self.layers[-1](features)
        return x + _RESIDUAL_SCALING * residual


class _RRDB(nn.Module):
    def __init__(self, n_feats: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*(_DenseBlock(n_feats, growth) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.body(x)
        return x + _RESIDUAL_SCALING * residual
