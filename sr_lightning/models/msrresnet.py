"""MSRResNet: SRResNet without batch normalisation, from Wang et al. (ESRGAN, ECCVW 2018) and BasicSR."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import ResBlock, check_scale, conv, stages, sub_pixel, to_image
from sr_lightning.models.conversion import Names, Official, State, count, rename, sub_pixel_scale

_SLOPE = 0.1


class MSRResNet(SRNetwork):
    """Residual blocks, sub-pixel upsampling and two final convolutions, added to the bilinearly upscaled image.

    Args:
        scale: Scale factor.
        n_feats: Number of channels.
        n_resblocks: Number of residual blocks.
    """

    def __init__(self, scale: int = 4, *, n_feats: int = 64, n_resblocks: int = 16) -> None:
        super().__init__()
        self.scales = (check_scale(scale),)
        self.head = conv(3, n_feats)
        self.body = nn.Sequential(*(ResBlock(n_feats) for _ in range(n_resblocks)))
        self.upsample = nn.Sequential(*(sub_pixel(n_feats, n_feats, stage) for stage in stages(scale)))
        self.tail = nn.Sequential(conv(n_feats, n_feats), nn.LeakyReLU(_SLOPE, inplace=True), to_image(n_feats, 3))

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts the names of BasicSR, of its predecessor mmsr, and of MMEditing, on 0..1."""
        trunk = next((name for name in ("body", "recon_trunk", "trunk_net") if f"{name}.0.conv1.weight" in state), None)
        if trunk is None or "conv_first.weight" not in state:
            return None
        names: Names = {
            r"conv_first\.": "head.",
            rf"{trunk}\.(\d+)\.conv1\.": r"body.\1.body.0.",
            rf"{trunk}\.(\d+)\.conv2\.": r"body.\1.body.2.",
            r"(?:upconv(\d)|upsample(\d)\.upsample_conv)\.": lambda m: f"upsample.{int(m[1] or m[2]) - 1}.0.",
            r"(?:conv_hr|HRconv)\.": "tail.0.",
            r"conv_last\.": "tail.2.",
        }
        return Official(rename(state, names), {})

    @staticmethod
    def infer(state: State) -> dict[str, Any]:
        """Infers arguments from shapes."""
        return {
            "scale": sub_pixel_scale(state, r"upsample\.\d+\.0\.weight"),
            "n_feats": state["head.weight"].shape[0],
            "n_resblocks": count(state, "body"),
        }

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, h, w) RGB in [0, 1] -> (N, 3, h·s, w·s)."""
        features = self.body(F.leaky_relu(self.head(x), _SLOPE))
        for stage in self.upsample:
            features = F.leaky_relu(stage(features), _SLOPE)
        y: Tensor = self.tail(features)
        return y + F.interpolate(x, scale_factor=float(self.scales[0]), mode="bilinear", align_corners=False)
