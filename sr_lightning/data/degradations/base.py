"""Degradation interface, MATLAB's downscaling, and conversion of HR windows to augmented batches."""

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
    """Interface of degradations, which make LR images; custom classes may be used (`data.degradation._target_`).

    A degradation with a true attribute `on_cpu` is applied by the data workers; all others on the trainer's device.
    """

    def margin(self, scale: int) -> int:
        """Returns the LR pixels of context a window needs on each side; 0: the window alone is enough."""

    def describe(self) -> str:
        """Returns name and settings, which are recorded in the protocol and determine whether a run may be resumed."""

    def __call__(self, hr: Tensor, scale: int, keys: Sequence[int]) -> Tensor:
        """Maps (N, 3, h·s, w·s) uint8 and N sample numbers -> (N, 3, h, w) uint8, a pure function of both."""


class Downscale:
    """The classical degradation: downscaling by the scale and rounding to 8 bits, as in MATLAB's `imresize`.

    Args:
        kernel: Interpolation kernel; published results use `bicubic`, `bicubic_double` rounds only once.
    """

    def __init__(self, kernel: Kernel = "bicubic") -> None:
        self.kernel: Kernel = kernel

    def margin(self, scale: int) -> int:
        """Returns the LR pixels of context that make a window's LR equal to that of the whole image."""
        return margin(self.kernel, Fraction(1, scale))

    def describe(self) -> str:
        """Returns the name used in results."""
        return f"matlab_{self.kernel}"

    def __call__(self, hr: Tensor, scale: int, keys: Sequence[int] = ()) -> Tensor:
        """Maps (N, 3, h·s, w·s) uint8 -> (N, 3, h, w) uint8, independent of the sample numbers."""
        return resize(hr, Fraction(1, scale), kernel=self.kernel)


def sample_rule(degrade: Degradation) -> str:
    """Returns the rule that determines a sample's LR, for the fingerprint in checkpoints.

    Older versions rounded once and called that `matlab_bicubic`; this is `bicubic_double` today, and the same kernels
    under their plain names now mean a different rule.
    """
    name = degrade.describe()
    if type(degrade) is not Downscale or degrade.kernel == "nearest":
        return name
    return "matlab_bicubic" if degrade.kernel == "bicubic_double" else f"{name}, rounded after each pass"


def lr_protocol(degrade: Degradation) -> dict[str, str]:
    """Describes how LR is made, for the protocol in results.json; older versions (one rounding) lack `lr_rounding`."""
    found = {"lr_kernel": degrade.describe()}
    if type(degrade) is Downscale:
        found["lr_rounding"] = "once" if degrade.kernel == "bicubic_double" else "after each pass"
    return found


def is_on_cpu(degrade: Degradation) -> bool:
    """Returns whether LR is made on the CPU whatever the trainer's device, so that it is the same on every device."""
    return getattr(degrade, "on_cpu", False) is True


def degraded(degrade: Degradation, hr: Tensor, scale: int, keys: Sequence[int]) -> Tensor:
    """Makes LR images where the degradation wants to run; the result is on the device of `hr`."""
    return degrade(hr.cpu(), scale, keys).to(hr.device) if is_on_cpu(degrade) else degrade(hr, scale, keys)


def with_lr(windows: TrainWindows, degrade: Degradation) -> TrainWindows:
    """Makes the LR patches from the HR windows, which lose their margin."""
    scale, m, hr = windows.scale, degrade.margin(windows.scale), windows.hr
    lr = degraded(degrade, hr, scale, windows.keys)  # (N, 3, p + 2m, p + 2m)
    if m:
        lr = lr[..., m:-m, m:-m]  # (N, 3, p, p)
        hr = hr[..., m * scale : -m * scale, m * scale : -m * scale]  # (N, 3, p·s, p·s)
    return windows._replace(hr=hr, lr=lr)


def to_train_batch(windows: TrainWindows, degrade: Degradation) -> TrainBatch:
    """Makes the LR patches if there are none yet, and applies each sample's dihedral transform to LR and HR."""
    if windows.lr is None:
        windows = with_lr(windows, degrade)
    hr, lr = windows.hr, windows.lr
    assert lr is not None
    return TrainBatch(_augmented(lr, windows.dihedral), _augmented(hr, windows.dihedral), windows.scale)


def to_eval_batch(image: EvalImage, degrade: Degradation) -> EvalBatch:
    """Makes the LR image if the set has no ready-made one."""
    lr = degraded(degrade, image.hr, image.scale, (image.key,)) if image.lr is None else image.lr
    is_double = type(degrade) is Downscale and degrade.kernel == "bicubic_double"
    baseline: Kernel = "bicubic_double" if is_double else "bicubic"
    return EvalBatch(_unit(lr), image.hr, image.scale, image.set, image.name, image.key, baseline)


def _augmented(x: Tensor, codes: tuple[int, ...]) -> Tensor:
    """Returns channels_last, like windows and networks: a loss over mixed memory formats takes three times as long."""
    samples = [dihedral(sample, code).movedim(0, -1) for sample, code in zip(x, codes, strict=True)]  # (H, W, 3) each
    return _unit(torch.stack(samples).movedim(-1, 1))  # (N, 3, H, W)


def _unit(x: Tensor) -> Tensor:
    """Maps levels 0–255 -> [0, 1]."""
    # By a tensor: dividing by a number multiplies by its reciprocal on CUDA, which differs in the last bit.
    return x.to(torch.float32, copy=True).div_(torch.full((), 255.0, device=x.device))
