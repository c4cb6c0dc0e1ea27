"""Types of batches: uint8 images as the workers hand them over, and float batches as the network gets them.

They are NamedTuples because Lightning's device transfer rebuilds those and refuses frozen dataclasses; each
says by its type what it is, so that nothing has to guess from keys or shapes.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from sr_lightning.image.resize import Kernel


class TrainWindows(NamedTuple):
    """Windows cut by a worker, still uint8."""

    hr: Tensor
    """(N, 3, (p + 2m)·s, (p + 2m)·s) uint8: p LR pixels of patch, m of margin on each side."""
    lr: Tensor | None
    """(N, 3, p, p) uint8 cut from LR images, ready-made or cached, or None: made from `hr` on the device."""
    scale: int
    dihedral: tuple[int, ...]
    """N codes 0 to 7 of dihedral transforms; on the host, so that reading them waits for nothing."""
    keys: tuple[int, ...]
    """N sample numbers, from which a random degradation draws its parameters."""
    next_k: int
    """Number of samples drawn since step 0 once this batch, on all ranks, is consumed."""


class TrainBatch(NamedTuple):
    """The images of a training step."""

    lr: Tensor
    """(N, 3, p, p) float in [0, 1]."""
    hr: Tensor
    """(N, 3, p·s, p·s) float in [0, 1]."""
    scale: int


class EvalImage(NamedTuple):
    """One whole image, or its centre, still uint8."""

    hr: Tensor
    """(1, 3, h·s, w·s) uint8."""
    lr: Tensor | None
    """(1, 3, h, w) uint8, or None: made from `hr` on the device."""
    scale: int
    set: str
    name: str
    key: int
    """The image's number in its set, from which a random degradation draws its parameters."""


class EvalBatch(NamedTuple):
    """The one image of an evaluation step."""

    lr: Tensor
    """(1, 3, h, w) float in [0, 1], on the levels of an 8-bit file."""
    hr: Tensor
    """(1, 3, h·s, w·s) uint8."""
    scale: int
    set: str
    name: str
    key: int
    """The image's number in its set; names may repeat in sub-folders."""
    baseline: Kernel = "bicubic"
    """The rule of bicubic's row: where LR is made by `bicubic_double`, so is its enlargement."""


class NoImage(NamedTuple):
    """In place of an image where fewer are left than ranks: all ranks take the same number of steps."""
