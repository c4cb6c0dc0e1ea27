"""FSRCNN: Dong, Loy and Tang, Accelerating the Super-Resolution Convolutional Neural Network, ECCV 2016."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import check_scale, conv
from sr_lightning.models.conversion import Names, Official, State, count, rename
from sr_lightning.models.initialisation import gaussian_, kaiming_

_PRELU_SLOPE = 0.25


class FSRCNN(SRNetwork):
    """Feature extraction, shrinking, mapping, expanding and deconvolution (section 3.2). On Y.

    Convolutions are initialised as in He et al. 2015 for PReLU, the deconvolution with N(0, 0.001²) (section 4.1).

    Args:
        scale: Scale factor, which is the stride of the deconvolution.
        d: Channels of the LR features.
        s: Channels of the mapping.
        m: Number of mapping layers.
    """

    channels = 1

    def __init__(self, scale: int = 4, *, d: int = 56, s: int = 12, m: int = 4) -> None:
        super().__init__()
        self.scales = (check_scale(scale),)
        mapping = [layer for _ in range(m) for layer in _block(s, s, 3)]
        self.body = nn.Sequential(*_block(1, d, 5), *_block(d, s, 1), *mapping, *_block(s, d, 1))
        # (h - 1)·s - 2·4 + 9 + (s - 1) = h·s
        deconvolution = nn.ConvTranspose2d(d, 1, 9, stride=scale, padding=4, output_padding=scale - 1)
        self.deconvolution = gaussian_(deconvolution, 1e-3)

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts the names of yjn870's FSRCNN-pytorch and of Lornatang's FSRCNN-PyTorch, on Y."""
        if "first_part.0.weight" in state:
            parts, last = ["first_part", "mid_part"], "last_part"
        elif "feature_extraction.0.weight" in state:
            parts, last = ["feature_extraction", "shrink", "map", "expand"], "deconv"
        else:
            return None
        starts = {part: sum(count(state, before) for before in parts[:i]) for i, part in enumerate(parts)}
        names: Names = {
            rf"({'|'.join(parts)})\.(\d+)\.": lambda m: f"body.{starts[m[1]] + int(m[2])}.",
            rf"{last}\.": "deconvolution.",
        }
        return Official(rename(state, names), {})

    @staticmethod
    def infer(state: State) -> dict[str, Any]:
        """Infers arguments from shapes, except the scale, which is a stride."""
        return {
            "d": state["body.0.weight"].shape[0],
            "s": state["body.2.weight"].shape[0],
            "m": count(state, "body") // 2 - 3,
        }

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 1, h, w) Y in [0, 1] -> (N, 1, h·s, w·s)."""
        y: Tensor = self.deconvolution(self.body(x))
        return y


def _block(n_in: int, n_out: int, kernel_size: int) -> list[nn.Module]:
    """Creates a convolution and a PReLU with one slope per channel."""
    layer = kaiming_(conv(n_in, n_out, kernel_size), negative_slope=_PRELU_SLOPE)
    return [layer, nn.PReLU(n_out, init=_PRELU_SLOPE)]
