"""Images made from a seed, and folders of photographs."""

import numpy as np


def make_image(height: int, width: int, seed: int) -> np.ndarray:
    """Edges, gradients and noise: (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x * f + y * g + p) for f, g, p in rng.uniform(0.05, 0.6, (3, 3))]
    stripes = ((x + y) // rng.integers(5, 12)) % 2
    image = np.stack(waves, 2) * 60 + stripes[..., None] * 70 + 90 + rng.normal(0, 4, (height, width, 3))
    return image.clip(0, 255).astype(np.uint8)
