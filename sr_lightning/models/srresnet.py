"""SRResNet, the generator of SRGAN: Ledig et al., Photo-Realistic Single Image Super-Resolution, CVPR 2017."""

from __future__ import annotations

from torch import Tensor, nn

from sr_lightning.models.blocks import check_scale, conv, stages, sub_pixel, to_picture

_PRELU_SLOPE = 0.25


class SRResNet(nn.Module):
    """Residual blocks with batch normalisation and PReLU, a long skip, sub-pixel upsampling (fig. 4).

    Args:
        scale: Factor.
        n_feats: Channels.
        n_resblocks: B, residual blocks.
    """

    channels = 3

    def __init__(self, scale: int = 4, *, n_feats: int = 64, n_resblocks: int = 16) -> None:
        super().__init__()
        self.scales = (check_scale(scale),)
        self.head = nn.Sequential(conv(3, n_feats, 9), nn.PReLU(init=_PRELU_SLOPE))
        blocks = [_Block(n_feats) for _ in range(n_resblocks)]
        self.body = nn.Sequential(*blocks, conv(n_feats, n_feats), nn.BatchNorm2d(n_feats))
        upsample = [nn.Sequential(sub_pixel(n_feats, n_feats, s), nn.PReLU(init=_PRELU_SLOPE)) for s in stages(scale)]
        self.tail = nn.Sequential(*upsample, to_picture(n_feats, 3, 9))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, h, w) RGB in [0, 1] -> (N, 3, h·s, w·s)."""
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
