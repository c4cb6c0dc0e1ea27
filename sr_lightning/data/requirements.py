"""What a run asks of its images, and what it does about those that fall short; `check` judges by the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sr_lightning.errors import UserError

OnSmall = Literal["error", "skip", "mirror"]
OnBadImage = Literal["error", "skip"]


def least_side(scale: int) -> int:
    """Pixels that an image needs to be evaluated: SSIM's window, two shaved borders, one crop to a multiple."""
    return 11 + 3 * scale


def held_out(files: Sequence[Path], count: int) -> list[Path]:
    """As many training images as are validated on, evenly spread.

    Raises:
        UserError: Nothing would be left to train on.
    """
    if count >= len(files):
        raise UserError(
            f"data.val_holdout: found {count}, but data.train_dir holds {len(files)} images; allowed: fewer than "
            "that, or 0 and a set of its own: +data.val.Mine=<folder>"
        )
    step = len(files) / max(count, 1)
    return [files[int((i + 0.5) * step)] for i in range(count)]
