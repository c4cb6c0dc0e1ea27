"""Images made from a seed, and folders of photographs."""

from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

SKIMAGE = Path(skimage.data.__file__).parent


def make_image(height: int, width: int, seed: int) -> np.ndarray:
    """Edges, gradients and noise: (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x * f + y * g + p) for f, g, p in rng.uniform(0.05, 0.6, (3, 3))]
    stripes = ((x + y) // rng.integers(5, 12)) % 2
    image = np.stack(waves, 2) * 60 + stripes[..., None] * 70 + 90 + rng.normal(0, 4, (height, width, 3))
    return image.clip(0, 255).astype(np.uint8)


def save_photographs(train: Path, test: Path, size: tuple[int, int]) -> tuple[Path, Path]:
    """Fills a training and a test folder with different photographs of scikit-image, of this width and height."""
    for folder, names in ((train, ("coffee.png", "rocket.jpg", "coins.png")), (test, ("astronaut.png", "chelsea.png"))):
        folder.mkdir()
        for name in names:
            Image.open(SKIMAGE / name).convert("RGB").resize(size).save(folder / f"{Path(name).stem}.png")
    return train, test
