"""Diagnosis of methods far below bicubic: value range, colour order, mean, scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from sr_lightning.errors import UserError
from sr_lightning.evaluation.method import Method, NetworkMethod
from sr_lightning.evaluation.predictions import Prediction
from sr_lightning.image.color import to_uint8
from sr_lightning.inference.forward import apply_to_rgb
from sr_lightning.metrics.psnr_ssim import psnr
from sr_lightning.models.base import SRNetwork, network_traits

FAR_BELOW = 3.0
"""Decibels below bicubic that no sensibly trained network falls; those trained with a discriminator lose up to 2."""
FIRST_IMAGES = 3
"""Number of images inspected for each method."""
_SIDE = 64  # LR pixels per side of the crop on which other conventions are tried
_DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
Convert = Callable[[Tensor], Tensor]


class _Converted(SRNetwork):
    """A network between two value conversions."""

    def __init__(self, net: nn.Module, before: Convert, after: Convert) -> None:
        super().__init__()
        traits = network_traits(net)
        self.channels, self.scales, self.min_size = traits.channels, traits.scales, traits.min_size
        self.net, self.before, self.after = net, before, after

    def forward(self, x: Tensor, scale: int | None = None) -> Tensor:
        """See `SRNetwork.forward`."""
        y: Tensor = self.net(self.before(x)) if scale is None else self.net(self.before(x), scale=scale)
        return self.after(y)


def diagnose(method: Method, prediction: Prediction, gain: float) -> str:
    """Reports that a method is far below bicubic, and which convention would explain it.

    Other conventions are tried on a crop of the image; one is reported if it is better by more than `FAR_BELOW`.

    Args:
        method: The method.
        prediction: One of its predictions.
        gain: Gain in PSNR-Y over bicubic on this image, in dB.
    """
    batch = prediction.batch
    message = f"{method.label} stands {-gain:.1f} dB below bicubic on {batch.name} x{batch.scale}"
    tried = dict(_other_conventions(method, prediction))
    own = tried.pop("", -1.0)
    convention, best = max(tried.items(), key=lambda entry: entry[1], default=("", -1.0))
    if best > own + FAR_BELOW:
        return f"{message}; cause: with {convention} it would reach {best:.1f} dB, not {own:.1f}"
    if isinstance(method, NetworkMethod):
        return (
            f"{message}; likely causes: a range of values, colour order, mean or scale other than in its training, "
            "or weights that were hardly trained"
        )
    return f"{message}; likely causes: images of another method or scale, shifted or cropped ones, another colour order"


def _other_conventions(method: Method, prediction: Prediction) -> Iterator[tuple[str, float]]:
    """Yields (convention, PSNR-Y on the crop); an empty text stands for the convention in use."""
    batch = prediction.batch
    if not isinstance(method, NetworkMethod):
        if prediction.image is not None:
            for name, image in (("", prediction.image), ("red and blue exchanged", prediction.image.flip(1))):
                yield name, float(psnr(image, batch.hr, shave=batch.scale))
        return
    height, width = (min(side, _SIDE) for side in batch.lr.shape[-2:])
    lr = batch.lr[..., :height, :width]
    hr = batch.hr[..., : height * batch.scale, : width * batch.scale]
    for name, before, after in _conventions(network_traits(method.net).channels, lr):
        try:
            sr = apply_to_rgb(_Converted(method.net, before, after), lr, batch.scale)
        except (RuntimeError, ValueError, UserError):  # the network rejects the crop
            continue
        if sr.isfinite().all():
            yield name, float(psnr(to_uint8(sr), hr, shave=batch.scale))


def _conventions(channels: int, like: Tensor) -> list[tuple[str, Convert, Convert]]:
    ranges: list[tuple[str, Convert, Convert]] = [
        ("", lambda x: x, lambda y: y),
        ("values of 0 to 255", lambda x: x * 255, lambda y: y / 255),
        ("values of -1 to 1", lambda x: x * 2 - 1, lambda y: (y + 1) / 2),
        ("values of -0.5 to 0.5", lambda x: x - 0.5, lambda y: y + 0.5),
    ]
    if channels != 3:
        return ranges
    mean = torch.tensor(_DIV2K_MEAN, device=like.device)[:, None, None]
    ranges.append(("DIV2K's mean subtracted", lambda x: x - mean, lambda y: y + mean))
    swapped: list[tuple[str, Convert, Convert]] = [
        (
            " and ".join(filter(None, ["colours in the order BGR", name])),
            lambda x, before=before: before(x.flip(-3)),  # type: ignore[misc]  # binds this conversion
            lambda y, after=after: after(y).flip(-3),  # type: ignore[misc]  # binds this conversion
        )
        for name, before, after in ranges
    ]
    return ranges + swapped
