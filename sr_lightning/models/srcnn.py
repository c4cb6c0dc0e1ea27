"""SRCNN: Dong, Loy, He and Tang, Image Super-Resolution Using Deep Convolutional Networks, TPAMI 2016."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from sr_lightning.errors import UserError
from sr_lightning.image.resize import enlarge
from sr_lightning.models.base import SRNetwork
from sr_lightning.models.blocks import check_scale, conv
from sr_lightning.models.conversion import Official, State, rename
from sr_lightning.models.initialisation import gaussian_


class SRCNN(SRNetwork):
    """Bicubic upsampling, then patch extraction, non-linear mapping and reconstruction (section 3.1). On Y.

    Args:
        scale: Scale factor of the upsampling.
        kernel_sizes: f1, f2, f3: 9-1-5 is the base setting, 9-5-5 the larger one (section 4.3.2).
        n_feats: n1 and n2.
        init: `gaussian` as in the paper (N(0, 0.001²), section 3.3; it needs the paper's 10^8 steps), or `kaiming` for
            the layers followed by a ReLU, which needs only a small fraction of them.
    """

    channels = 1

    def __init__(
        self,
        scale: int = 4,
        *,
        kernel_sizes: Sequence[int] = (9, 1, 5),
        n_feats: Sequence[int] = (64, 32),
        init: Literal["gaussian", "kaiming"] = "kaiming",
    ) -> None:
        super().__init__()
        self.scales = (check_scale(scale),)
        if len(kernel_sizes) != 3 or len(n_feats) != 2:
            raise UserError(
                f"model: SRCNN has 3 kernel_sizes and 2 n_feats, found {list(kernel_sizes)} and {list(n_feats)}"
            )
        self.body = nn.Sequential(
            conv(1, n_feats[0], kernel_sizes[0]),
            nn.ReLU(inplace=True),
            conv(n_feats[0], n_feats[1], kernel_sizes[1]),
            nn.ReLU(inplace=True),
            gaussian_(conv(n_feats[1], 1, kernel_sizes[2]), 1e-3),
        )
        if init == "gaussian":
            for layer in self.body:
                if isinstance(layer, nn.Conv2d):
                    gaussian_(layer, 1e-3)

    @staticmethod
    def from_official(state: State) -> Official | None:
        """Converts the names of yjn870's SRCNN-pytorch (9-5-5) and of Lornatang's SRCNN-PyTorch (9-1-5), on Y."""
        if "reconstruction.weight" in state:
            layers = (r"features\.0\.", r"map\.0\.", r"reconstruction\.")
        elif "conv3.weight" in state:
            layers = (r"conv1\.", r"conv2\.", r"conv3\.")
        else:
            return None
        return Official(rename(state, {theirs: f"body.{2 * i}." for i, theirs in enumerate(layers)}), {})

    @staticmethod
    def infer(state: State) -> dict[str, Any]:
        """Infers arguments from shapes, except the scale."""
        kernels = [state[f"body.{i}.weight"] for i in (0, 2, 4)]
        return {
            "kernel_sizes": [kernel.shape[-1] for kernel in kernels],
            "n_feats": [kernel.shape[0] for kernel in kernels[:2]],
        }

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 1, h, w) Y in [0, 1] -> (N, 1, h·s, w·s)."""
        y: Tensor = self.body(enlarge(x, self.scales[0]))
        return y
