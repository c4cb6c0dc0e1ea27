"""VDSR: Kim, Lee and Lee, Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from sr_lightning.image.resize import enlarge
from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import check_scales, choose_scale, conv
from sr_lightning.models.conversion import Names, Official, State, count, rename, with_zero_biases
from sr_lightning.models.initialisation import RESIDUAL, kaiming_


class VDSR(SRNetwork):
    """Bicubic upsampling, then a deep stack that learns the residual (section 3.1). On Y; one network for all scales.

    He-initialised (section 5.2); the last layer has small weights, so that the untrained network is nearly bicubic.

    Args:
        scales: One or several scales; the weights do not depend on them.
        n_feats: Number of channels.
        n_layers: Number of convolutions, including the first and last.
    """

    channels = 1

    def __init__(self, scales: int | Sequence[int] = (2, 3, 4), *, n_feats: int = 64, n_layers: int = 20) -> None:
        super().__init__()
        self.scales = check_scales(scales)
        layers: list[nn.Module] = [conv(1, n_feats), nn.ReLU(inplace=True)]
        for _ in range(n_layers - 2):
            layers += [conv(n_feats, n_feats), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers, kaiming_(conv(n_feats, 1), scale=RESIDUAL))

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts the names of twtygqyy's pytorch-vdsr and of Lornatang's VDSR-PyTorch, without biases, on Y."""
        if "residual_layer.0.conv.weight" in state:
            first, middle, last = r"input\.", r"residual_layer\.(\d+)\.conv\.", r"output\."
        elif "trunk.0.conv.weight" in state:
            first, middle, last = r"conv1\.0\.", r"trunk\.(\d+)\.conv\.", r"conv2\."
        else:
            return None
        names: Names = {
            first: "body.0.",
            middle: lambda m: f"body.{2 * int(m[1]) + 2}.",
            last: f"body.{2 * len(state) - 2}.",
        }
        return Official(with_zero_biases(rename(state, names)), {})

    @staticmethod
    def infer(state: State) -> dict[str, Any]:
        """Infers arguments from shapes, except the scales."""
        return {"n_feats": state["body.0.weight"].shape[0], "n_layers": count(state, "body")}

    def forward(self, x: Tensor, scale: int | None = None) -> Tensor:
        """Maps (N, 1, h, w) Y in [0, 1] -> (N, 1, h·s, w·s)."""
        enlarged = enlarge(x, choose_scale(self.scales, scale))
        residual: Tensor = self.body(enlarged)
        return enlarged + residual
