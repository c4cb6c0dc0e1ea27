"""SRResNet, the generator of SRGAN: Ledig et al., Photo-Realistic Single Image Super-Resolution, CVPR 2017."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import check_scale, conv, stages, sub_pixel, to_image
from sr_lightning.models.conversion import Names, Official, State, count, rename, sub_pixel_scale, with_zero_biases

_PRELU_SLOPE = 0.25


class SRResNet(SRNetwork):
    """Residual blocks with batch normalisation and PReLU, a global skip connection, sub-pixel upsampling (fig. 4).

    Args:
        scale: Scale factor.
        n_feats: Number of channels.
        n_resblocks: B, number of residual blocks.
    """

    def __init__(self, scale: int = 4, *, n_feats: int = 64, n_resblocks: int = 16) -> None:
        super().__init__()
        self.scales = (check_scale(scale),)
        self.head = nn.Sequential(conv(3, n_feats, 9), nn.PReLU(init=_PRELU_SLOPE))
        blocks = [_Block(n_feats) for _ in range(n_resblocks)]
        self.body = nn.Sequential(*blocks, conv(n_feats, n_feats), nn.BatchNorm2d(n_feats))
        upsample = [nn.Sequential(sub_pixel(n_feats, n_feats, s), nn.PReLU(init=_PRELU_SLOPE)) for s in stages(scale)]
        self.tail = nn.Sequential(*upsample, to_image(n_feats, 3, 9))

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts the names of Lornatang's SRGAN-PyTorch, whose convolutions before a normalisation have no bias.

        MSRResNet of BasicSR and MMEditing, without batch normalisation and with a bilinear skip, and twtygqyy's
        SRResNet, with instance normalisation, are different networks.
        """
        if "trunk.0.rcb.0.weight" not in state:
            return None
        n = count(state, "trunk")
        n_stages = count(state, "upsampling")
        names: Names = {
            r"conv(?:_block)?1\.": "head.",
            r"trunk\.(\d+)\.rcb\.": r"body.\1.body.",
            r"conv(?:_block)?2\.(\d)\.": lambda m: f"body.{n + int(m[1])}.",
            r"upsampling\.(\d+)\.upsample_block\.0\.": r"tail.\1.0.0.",
            r"upsampling\.(\d+)\.upsample_block\.2\.": r"tail.\1.1.",
            r"conv(?:_block)?3\.": f"tail.{n_stages}.",
        }
        return Official(with_zero_biases(rename(state, names)), {})

    @staticmethod
    def infer(state: State) -> dict[str, Any]:
        """Infers arguments from shapes."""
        return {
            "scale": sub_pixel_scale(state, r"tail\.\d+\.0\.0\.weight"),
            "n_feats": state["head.0.weight"].shape[0],
            "n_resblocks": count(state, "body") - 2,
        }

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, h, w) RGB in [0, 1] -> (N, 3, h·s, w·s)."""
        features = self.head(x)
        y: Tensor = self.tail(features + self.body(features))
        return y


class _Block(nn.Module):
    def __init__(self, n_feats: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(n_feats, n_feats),
            nn.BatchNorm2d(n_feats),
            nn.PReLU(init=_PRELU_SLOPE),
            conv(n_feats, n_feats),
            nn.BatchNorm2d(n_feats),
        )

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.body(x)
        return x + residual
