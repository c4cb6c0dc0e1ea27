"""ESPCN: Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN, CVPR 2016."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import check_scale, conv, sub_pixel
from sr_lightning.models.conversion import Names, Official, State, rename, sub_pixel_scale


class ESPCN(SRNetwork):
    """Two convolutions with tanh, then a sub-pixel convolution (section 3.2; sizes of section 4.2). On Y.

    Args:
        scale: Scale factor.
        n_feats: n1; n2 is half of it.
    """

    channels = 1

    def __init__(self, scale: int = 4, *, n_feats: int = 64) -> None:
        super().__init__()
        self.scales = (check_scale(scale),)
        self.body = nn.Sequential(
            _xavier(conv(1, n_feats, 5)),
            nn.Tanh(),
            _xavier(conv(n_feats, n_feats // 2, 3)),
            nn.Tanh(),
            sub_pixel(n_feats // 2, 1, scale),
        )

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts the names of yjn870's ESPCN-pytorch and of Lornatang's ESPCN-PyTorch, on Y."""
        if "last_part.0.weight" not in state and "sub_pixel.0.weight" not in state:
            return None
        names: Names = {r"(?:first_part|feature_maps)\.": "body.", r"(?:last_part|sub_pixel)\.": "body.4."}
        return Official(rename(state, names), {})

    @staticmethod
    def infer(state: State) -> dict[str, Any]:
        """Infers arguments from shapes."""
        return {
            "scale": sub_pixel_scale(state, r"body\.4\.0\.weight", 1),
            "n_feats": state["body.0.weight"].shape[0],
        }

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 1, h, w) Y in [0, 1] -> (N, 1, h·s, w·s)."""
        y: Tensor = self.body(x)
        return y


def _xavier(layer: nn.Conv2d) -> nn.Conv2d:
    """Applies Glorot initialisation, as appropriate for tanh (Glorot and Bengio 2010, eq. 16); He's is for ReLU."""
    nn.init.xavier_normal_(layer.weight, gain=nn.init.calculate_gain("tanh"))
    return layer
