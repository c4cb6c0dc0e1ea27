"""The interface of a degradation, MATLAB's downscaling, and HR windows -> batch: degradation, then augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor

from sr_lightning.data.batch import EvalBatch, EvalImage, TrainBatch, TrainWindows
from sr_lightning.image.color import dihedral
from sr_lightning.image.resize import Kernel, margin, resize


class Degradation(Protocol):
    """What makes LR images; a class of your own fits too (`data.degradation._target_`)."""

    def margin(self, scale: int) -> int:
        """LR pixels of context that a window needs on each side; 0: it works on the window alone."""

    def describe(self) -> str:
        """Its name and settings: they stand in the protocol and decide whether a run may continue."""

    def __call__(self, hr: Tensor, scale: int, keys: Sequence[int]) -> Tensor:
        """(N, 3, h·s, w·s) uint8 and N sample numbers -> (N, 3, h, w) uint8, a pure function of both."""


class Downscale:
    """The classical degradation: shrink by the scale and round to 8 bit, as MATLAB's `imresize` does.

    Args:
        kernel: Interpolation kernel; `bicubic` is what the published numbers use, `bicubic_double` rounds once.
    """

    def __init__(self, kernel: Kernel = "bicubic") -> None:
        self.kernel: Kernel = kernel

    def margin(self, scale: int) -> int:
        """LR pixels of context a window needs on each side to be equal to the whole image's LR."""
        return margin(self.kernel, Fraction(1, scale))

    def describe(self) -> str:
        """As results name it."""
        return f"matlab_{self.kernel}"

    def __call__(self, hr: Tensor, scale: int, keys: Sequence[int] = ()) -> Tensor:
        """(N, 3, h·s, w·s) uint8 -> (N, 3, h, w) uint8; the same for every sample number."""
        return resize(hr, Fraction(1, scale), kernel=self.kernel)


def sample_rule(degrade: Degradation) -> str:
    """What decides a sample's LR, for the fingerprint in checkpoints.

    Older versions rounded once and had one name for it, `matlab_bicubic`; that is `bicubic_double` today, and the same
    kernels under their plain names are another rule.
    """
    name = degrade.describe()
    if type(degrade) is not Downscale or degrade.kernel == "nearest":
        return name
    return "matlab_bicubic" if degrade.kernel == "bicubic_double" else f"{name}, rounded after each pass"


def lr_protocol(degrade: Degradation) -> dict[str, str]:
    """How LR is made, for the protocol in results.json; older versions, which rounded once, had no `lr_rounding`."""
    found = {"lr_kernel": degrade.describe()}
    if type(degrade) is Downscale:
        found["lr_rounding"] = "once" if degrade.kernel == "bicubic_double" else "after each pass"
    return found


def to_train_batch(windows: TrainWindows, degrade: Degradation) -> TrainBatch:
    """Makes the LR patches and applies each sample's dihedral transform to both sides."""
    scale = windows.scale
    hr, lr = windows.hr, windows.lr
    if lr is None:
        m = degrade.margin(scale)
        lr = degrade(hr, scale, windows.keys)  # (N, 3, p + 2m, p + 2m)
        if m:
            lr = lr[..., m:-m, m:-m]  # (N, 3, p, p)
            hr = hr[..., m * scale : -m * scale, m * scale : -m * scale]  # (N, 3, p·s, p·s)
    return TrainBatch(_augmented(lr, windows.dihedral), _augmented(hr, windows.dihedral), scale)


def to_eval_batch(image: EvalImage, degrade: Degradation) -> EvalBatch:
    """Makes the LR image if the set has none of its own."""
    lr = degrade(image.hr, image.scale, (image.key,)) if image.lr is None else image.lr
    is_double = type(degrade) is Downscale and degrade.kernel == "bicubic_double"
    baseline: Kernel = "bicubic_double" if is_double else "bicubic"
    return EvalBatch(_unit(lr), image.hr, image.scale, image.set, image.name, image.key, baseline)


def _augmented(x: Tensor, codes: tuple[int, ...]) -> Tensor:
    """In channels_last, as windows lie and as networks compute: a loss over two layouts takes three times as long."""
    samples = [dihedral(sample, code).movedim(0, -1) for sample, code in zip(x, codes, strict=True)]  # (H, W, 3) each
    return _unit(torch.stack(samples).movedim(-1, 1))  # (N, 3, H, W)


def _unit(x: Tensor) -> Tensor:
    """Levels 0–255 to [0, 1]."""
    return x.to(torch.float32, copy=True).div_(255)
