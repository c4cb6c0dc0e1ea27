"""Construction of an evaluation's test sets and LR degradation."""

from __future__ import annotations

from collections.abc import Sequence

from sr_lightning.builders.components import build
from sr_lightning.config.schema import EvaluateConfig
from sr_lightning.data.degradations.base import Degradation, Downscale
from sr_lightning.data.files import EXTENSIONS
from sr_lightning.data.image_sets import SetFinder
from sr_lightning.data.images import Images


def find_test_sets(config: EvaluateConfig, scales: Sequence[int]) -> list[Images]:
    """Returns the sets of `data.test`, decoded, with their ready-made LR images at these scales.

    Raises:
        UserError: Folders contain no images, or images that cannot be evaluated; the message names all of them.
    """
    extensions = config.data.get("extensions") or EXTENSIONS
    finder = SetFinder(scales, extensions=extensions, cache_dir=config.paths.cache)
    return finder.evaluations("test", config.data["test"])


def build_degradation(config: EvaluateConfig) -> Degradation:
    """Builds the degradation that makes the LR images: `data.degradation`, else `data.kernel`."""
    if section := config.data.get("degradation"):
        built: Degradation = build(section, "data.degradation")
        return built
    return Downscale(config.data.get("kernel") or "bicubic")
