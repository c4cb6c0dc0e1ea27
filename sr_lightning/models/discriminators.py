"""Discriminators for adversarial training: (N, 3, H, W) in [0, 1] -> logits, high for real images."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from sr_lightning.models.initialisation import kaiming_

_SLOPE = 0.2
_POOLED = 6  # side of the feature map at SRGAN's dense layer, for its patches of 96 pixels


class VGGDiscriminator(nn.Module):
    """SRGAN's discriminator: eight convolutions, half of them strided, two dense layers (Ledig et al. 2017, fig. 4).

    Before the dense layers, the features are average-pooled to 6x6, which changes nothing at the paper's patch size of
    96 pixels, and makes all other sizes of at least `min_size` fit.

    Args:
        n_feats: Channels of the first convolution; the last has eight times as many.
        n_dense: Outputs of the first dense layer.
        spectral_norm: Divide each weight by its largest singular value (Miyato et al. 2018), instead of batch
            normalisation, which would undo it.
    """

    min_size = 32

    def __init__(self, *, n_feats: int = 64, n_dense: int = 1024, spectral_norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, n_feats, spectral_norm=spectral_norm), nn.LeakyReLU(_SLOPE)]
        n_in = n_feats
        for factor, stride in ((1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2)):
            n_out = factor * n_feats
            layers.append(_conv(n_in, n_out, stride=stride, bias=spectral_norm, spectral_norm=spectral_norm))
            if not spectral_norm:
                layers.append(nn.BatchNorm2d(n_out))
            layers.append(nn.LeakyReLU(_SLOPE))
            n_in = n_out
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(_POOLED)
        self.verdict = nn.Sequential(
            nn.Flatten(),
            _normed(nn.Linear(n_in * _POOLED**2, n_dense), spectral_norm),
            nn.LeakyReLU(_SLOPE),
            _normed(nn.Linear(n_dense, 1), spectral_norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, H, W) in [0, 1] -> (N, 1)."""
        y: Tensor = self.verdict(self.pool(self.features(x)))
        return y


class UNetDiscriminator(nn.Module):
    """Real-ESRGAN's discriminator, with a logit for each pixel (Wang et al. 2021, section 3.4; Schönfeld et al. 2020).

    Three strided convolutions, three bilinear upsamplings, and skip connections at each size. At sizes that are not a
    multiple of 8, features are resized to those they are added to.

    Args:
        n_feats: Channels at full resolution; eight times as many at one eighth.
        spectral_norm: Divide each weight, except in the first and last convolution, by its largest singular value
            (Miyato et al. 2018).
    """

    min_size = 8

    def __init__(self, *, n_feats: int = 64, spectral_norm: bool = True) -> None:
        super().__init__()
        n = n_feats

        def inner(n_in: int, n_out: int, *, kernel_size: int = 3, stride: int = 1) -> nn.Module:
            return _conv(n_in, n_out, kernel_size, stride=stride, bias=False, spectral_norm=spectral_norm)

        self.head = _conv(3, n)
        self.down = nn.ModuleList(inner(n * f, 2 * n * f, kernel_size=4, stride=2) for f in (1, 2, 4))
        self.up = nn.ModuleList(inner(2 * n * f, n * f) for f in (4, 2, 1))
        self.tail = nn.Sequential(inner(n, n), nn.LeakyReLU(_SLOPE), inner(n, n), nn.LeakyReLU(_SLOPE), _conv(n, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, H, W) in [0, 1] -> (N, 1, H, W)."""
        x = F.leaky_relu(self.head(x), _SLOPE)
        skips: list[Tensor] = []
        for halve in self.down:
            skips.append(x)
            x = F.leaky_relu(halve(x), _SLOPE)
        for join in self.up:
            skip = skips.pop()
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = F.leaky_relu(join(x), _SLOPE) + skip
        y: Tensor = self.tail(x)
        return y


def _conv(
    n_in: int, n_out: int, kernel_size: int = 3, *, stride: int = 1, bias: bool = True, spectral_norm: bool = False
) -> nn.Module:
    layer = nn.Conv2d(n_in, n_out, kernel_size, stride=stride, padding=1, bias=bias)
    return _normed(kaiming_(layer, negative_slope=_SLOPE), spectral_norm)


def _normed(layer: nn.Module, spectral_norm: bool) -> nn.Module:
    return parametrizations.spectral_norm(layer) if spectral_norm else layer
