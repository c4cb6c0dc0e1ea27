"""Minimum image sizes, held-out images, and policies for images that are too small or unreadable."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sr_lightning.errors import UserError
from sr_lightning.text import counted, enumerated, listed

log = logging.getLogger(__name__)

OnSmall = Literal["error", "skip", "mirror"]
OnBadImage = Literal["error", "skip"]

NONE_LEFT = (
    "data.val_holdout: found {count}, but data.train_dir holds {found}; allowed: fewer than that, or 0 and a set of "
    "its own: +data.val.Mine=<folder>"
)
"""Message of `held_out`, also given by the config's check."""
_SHOWN = 5


def least_side(scale: int) -> int:
    """Returns the minimum side for evaluation in pixels: SSIM's window, two shaved borders, a crop to a multiple."""
    return 11 + 3 * scale


def refuse_too_small(
    key: str, names: Sequence[str | Path], sizes: Sequence[tuple[int, int]], *, scale: int, crop: int | None = None
) -> None:
    """Refuses evaluation images that are too small.

    Args:
        key: Config key of the set, for the message.
        names: Names of the images.
        sizes: (H, W) of each.
        scale: The largest scale.
        crop: Side length of the centre crop that is evaluated; None: the whole image.

    Raises:
        UserError: Some images are too small; it names all of them.
    """
    sides = {name: min(*size, crop or min(size)) for name, size in zip(names, sizes, strict=True)}
    needed = least_side(scale)
    small = [(name, side) for name, side in sides.items() if side < needed]
    if small:
        what = f"pixels are too few at x{scale}; needed: {needed}"
        raise UserError(listed([f"{key}: {name}: {side} {what}" for name, side in small]))


def large_enough(
    names: Sequence[str | Path],
    sizes: Sequence[tuple[int, int]],
    *,
    patch_size: int,
    scale: int,
    on_small: OnSmall,
) -> NDArray[np.int64]:
    """Returns the indices of the training images to use, in ascending order.

    Args:
        names: Names of the images, for messages.
        sizes: (H, W) of each.
        patch_size: Side length of the LR patch.
        scale: The largest scale.
        on_small: How to treat images smaller than the patch.

    Raises:
        UserError: Some images are too small and `on_small` is `error`, or no image would be left.
    """
    needed = patch_size * scale
    shorter = np.array(sizes, np.int64).reshape(-1, 2).min(axis=1)  # (N,)
    numbers: NDArray[np.int64] = np.arange(len(shorter))
    is_small = shorter < needed
    if on_small == "mirror" or not is_small.any():
        return numbers
    what = f"data.patch_size {patch_size} at x{scale} needs images of {needed} pixels and more"
    small = [f"{names[i]} ({sizes[i][1]}x{sizes[i][0]})" for i in numbers[is_small]]
    if on_small == "error" or is_small.all():
        fitting = int(shorter.min()) // scale
        ways = [f"data.patch_size={fitting} or less"] if fitting else []
        ways += ["data.on_small=mirror"] if is_small.all() else ["data.on_small=skip", "data.on_small=mirror"]
        raise UserError(f"{what}; smaller: {enumerated(small, most=_SHOWN)}. Allowed: {', '.join(ways)}")
    log.warning("left out, because %s: %s", what, enumerated(small, most=_SHOWN))
    large: NDArray[np.int64] = numbers[~is_small]
    return large


def held_out(files: Sequence[Path], count: int) -> list[Path]:
    """Returns `count` evenly spread training images to hold out for validation.

    Raises:
        UserError: Nothing would be left to train on.
    """
    if count >= len(files):
        raise UserError(NONE_LEFT.format(count=count, found=counted(len(files), "image")))
    step = len(files) / max(count, 1)
    return [files[int((i + 0.5) * step)] for i in range(count)]
