"""LPIPS, learned perceptual patch similarity, as a loss term."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor, nn

from sr_lightning.errors import UserError
from sr_lightning.metrics.backbones import network_timeout, why_not_plain

# Files that torchvision uses for torchmetrics' backbones; part of each name is its checksum.
_FILES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth", "squeeze": "squeezenet1_1-b8a52dc0.pth"}


class LPIPSLoss(nn.Module):
    """Learned perceptual image patch similarity (Zhang et al. 2018), in torchmetrics' implementation.

    As in `PerceptualLoss`, the backbone is not registered as a submodule.

    Args:
        net: `alex`, `vgg` or `squeeze`; torchvision downloads the weights once.

    Raises:
        UserError: The weights are unavailable.
    """

    needs_rgb = True

    def __init__(self, net: Literal["alex", "vgg", "squeeze"] = "vgg") -> None:
        super().__init__()
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        if net not in _FILES:
            raise UserError(f"LPIPSLoss: net: found {net!r}, allowed: {', '.join(_FILES)}")
        path = Path(torch.hub.get_dir(), "checkpoints", _FILES[net])
        try:
            with network_timeout():
                if not path.is_file():
                    url = f"https://download.pytorch.org/models/{path.name}"
                    torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
                _check_plain(path)
                metric = LearnedPerceptualImagePatchSimilarity(net_type=net, normalize=True)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"LPIPSLoss: the weights of {net} are neither in {path.parent} nor can they be downloaded "
                f"({error}). Allowed: put them there, or loss.beta with the backbone that "
                "needs no download: loss.perceptual.backbone=efficientnet_lite0"
            ) from None
        self._net: tuple[nn.Module] = (metric.net.requires_grad_(False).eval(),)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Maps two (N, 3, H, W) in [0, 1] -> scalar."""
        distance: Tensor = self._net[0](sr, hr, normalize=True)
        return distance.mean()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves the backbone to the device, but keeps it in float32."""
        result: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._net[0].to(fn(torch.zeros(1)).device)
        return result


def _check_plain(path: Path) -> None:
    """Refuses a file that contains code, which torchmetrics would execute."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"LPIPSLoss: {path} cannot be read: {why_not_plain(error)}") from None
