"""Target size of an image, and the number of network passes that it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sr_lightning.config.upscale import MOST_PASSES
from sr_lightning.errors import UserError


@dataclass(frozen=True)
class Sizing:
    """Requested size; at most one of `outscale`, `width` and `height`, `longest`, `shortest` is given."""

    scale: int
    """Scale factor of the network."""
    outscale: float | None = None
    width: int | None = None
    height: int | None = None
    longest: int | None = None
    shortest: int | None = None
    skip_larger: int | None = None
    """Images with at least this many pixels on their longer side are skipped."""

    @property
    def name(self) -> str:
        """Suffix for the output's name: `x4`, `x3.5`, `w1920`, `1920x1080`, `l2000`, `s1080`."""
        if self.outscale is not None:
            return f"x{self.outscale:g}"
        if self.width and self.height:
            return f"{self.width}x{self.height}"
        for letter, length in (("w", self.width), ("h", self.height), ("l", self.longest), ("s", self.shortest)):
            if length is not None:
                return f"{letter}{length}"
        return f"x{self.scale}"

    def target(self, height: int, width: int) -> Target:
        """Returns the target for an image of the given size.

        Raises:
            UserError: The network does not enlarge, or more than two passes would be needed.
        """
        size = self._size(height, width)
        factor = max(size[0] / height, size[1] / width)
        if factor > 1 and self.scale < 2:
            raise UserError(f"x{factor:.3g} with a network for x{self.scale}, which enlarges nothing; allowed: x1")
        passes = 0 if factor <= 1 and size != (height * self.scale, width * self.scale) else 1
        while passes and self.scale**passes < factor * (1 - 1e-9):
            passes += 1
        if passes > MOST_PASSES:
            raise UserError(
                f"{width}x{height} to {size[1]}x{size[0]} is x{factor:.3g}; "
                f"allowed: up to x{self.scale**MOST_PASSES} with a network for x{self.scale}"
            )
        return Target(size, self.scale, passes)

    def is_large_enough(self, height: int, width: int) -> bool:
        """Returns whether `skip_larger` excludes an image of this size."""
        return self.skip_larger is not None and max(height, width) >= self.skip_larger

    def _size(self, height: int, width: int) -> tuple[int, int]:
        if self.width and self.height:
            return self.height, self.width
        if self.outscale is not None:
            factor: float = self.outscale
        elif self.width:
            factor = self.width / width
        elif self.height:
            factor = self.height / height
        elif self.longest:
            factor = self.longest / max(height, width)
        elif self.shortest:
            factor = self.shortest / min(height, width)
        else:
            factor = self.scale
        return max(1, math.floor(height * factor + 0.5)), max(1, math.floor(width * factor + 0.5))


@dataclass(frozen=True)
class Target:
    """Target of one image."""

    size: tuple[int, int]
    """(H, W)."""
    scale: int
    passes: int
    """Number of passes through the network; 0 if the image is only downscaled."""
