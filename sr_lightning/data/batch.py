"""Batch types: uint8 images as produced by the workers, and float batches as consumed by the network.

They are NamedTuples because Lightning's device transfer can rebuild those but rejects frozen dataclasses. The type
of each identifies its content, so that nothing has to be guessed from keys or shapes.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from sr_lightning.image.resize import Kernel


class TrainWindows(NamedTuple):
    """Windows cropped by a worker, still uint8."""

    hr: Tensor
    """(N, 3, (p + 2m)·s, (p + 2m)·s) uint8: p LR pixels of patch, and a margin of m LR pixels on each side."""
    lr: Tensor | None
    """(N, 3, p, p) uint8, cropped from ready-made or cached LR images, or made by a degradation that runs on the CPU;
    None: made from `hr` on the device."""
    scale: int
    dihedral: tuple[int, ...]
    """N dihedral transform codes, 0 to 7; kept on the host, so that reading them needs no synchronisation."""
    keys: tuple[int, ...]
    """N sample numbers, which seed the parameters of a random degradation."""
    next_k: int
    """Number of samples drawn since step 0 over all ranks, once this batch is consumed."""


class TrainBatch(NamedTuple):
    """The images of a training step."""

    lr: Tensor
    """(N, 3, p, p) float in [0, 1]."""
    hr: Tensor
    """(N, 3, p·s, p·s) float in [0, 1]."""
    scale: int


class EvalImage(NamedTuple):
    """One whole image, or its centre crop, still uint8."""

    hr: Tensor
    """(1, 3, h·s, w·s) uint8."""
    lr: Tensor | None
    """(1, 3, h, w) uint8; None: made from `hr` on the device."""
    scale: int
    set: str
    name: str
    key: int
    """Index of the image in its set, which seeds the parameters of a random degradation."""


class EvalBatch(NamedTuple):
    """The single image of an evaluation step."""

    lr: Tensor
    """(1, 3, h, w) float in [0, 1], quantised to 8-bit levels."""
    hr: Tensor
    """(1, 3, h·s, w·s) uint8."""
    scale: int
    set: str
    name: str
    key: int
    """Index of the image in its set; names may repeat across sub-folders."""
    baseline: Kernel = "bicubic"
    """Kernel of the bicubic baseline: if `bicubic_double` makes LR, it also does the baseline's upscaling."""


class NoImage(NamedTuple):
    """Placeholder if fewer images are left than there are ranks, so that all ranks take the same number of steps."""
