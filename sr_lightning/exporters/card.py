"""What an exported file says about itself: scale, colours, sizes, tiles, weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from torch import nn

from sr_lightning import __version__
from sr_lightning.errors import UserError
from sr_lightning.inference.tiling import tile_margin
from sr_lightning.models.base import network_traits

Precision = Literal["float32", "float16"]
KEY = "sr_lightning_export"
"""Of the metadata in every format; its value is JSON."""
FORMAT = 1
_LARGEST = 4096  # of any number that a file may state


@dataclass(frozen=True)
class Card:
    """Tells a program, and a person, how to use the file. A file's is not trusted: see `read`."""

    network: str
    """Its class."""
    scale: int
    precision: Precision
    """Of weights and arithmetic; what goes in and comes out is float32."""
    min_size: int
    """Smallest side of an image in pixels; every larger size will do."""
    tile_margin: int | None
    """LR pixels around a part on which its SR pixels depend; None: the whole image matters, and tiles change it."""
    tile_step: int
    """Tiles begin at multiples of it."""
    weights: str
    weights_sha256: str
    colour: str = "RGB"
    figures: dict[str, str] = field(default_factory=dict)
    """PSNR / SSIM on Y by test set, where they are known."""
    input: str = "lr: (N, 3, h, w) float32, RGB in [0, 1]"
    output: str = "sr: (N, 3, h·scale, w·scale) float32, RGB in [0, 1], not clamped"
    normalisation: str = "none: it is part of the file"
    program: str = f"sr_lightning {__version__}"
    format: int = FORMAT

    @classmethod
    def of(
        cls,
        net: nn.Module,
        scale: int,
        *,
        network: str,
        precision: Precision = "float32",
        weights: str,
        sha256: str,
        figures: dict[str, str] | None = None,
    ) -> Self:
        """Describes a network; its receptive field is measured.

        Args:
            net: In evaluation mode.
            scale: The one that is exported.
            network: Its name.
            precision: Of the file.
            weights: Name of the file of weights.
            sha256: Of that file.
            figures: See `Card.figures`.
        """
        traits = network_traits(net)
        colour = "RGB"
        if traits.channels == 1:
            colour = (
                "RGB; inside, the network works on Y (BT.601, 16 to 235), chroma is enlarged by bicubic interpolation"
            )
        margin: int | None
        try:
            margin, step = tile_margin(net, scale, None)
        except UserError:
            margin, step = None, 1
        size = traits.min_size
        return cls(network, scale, precision, size, margin, step, weights, sha256, colour, figures or {})

    def text(self) -> str:
        """JSON in one line, in ASCII."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Self:
        """Reads what a file says, checking every value that a program would act on.

        Raises:
            ValueError: It is no card, or of another version.
        """
        found: Any = json.loads(text)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(f"its {KEY} has another format than {FORMAT}")
        known = {each.name for each in fields(cls)}
        card = cls(**{key: value for key, value in found.items() if key in known})
        numbers = {"scale": card.scale, "min_size": card.min_size, "tile_step": card.tile_step}
        if card.tile_margin is not None:
            numbers["tile_margin"] = card.tile_margin
        for name, value in numbers.items():
            if type(value) is not int or not (0 if name == "tile_margin" else 1) <= value <= _LARGEST:
                raise ValueError(f"its {KEY} has {name}={value!r}")
        if not all(isinstance(value, str) for value in (card.network, card.weights, card.weights_sha256)):
            raise ValueError(f"its {KEY} names no network and weights")
        return card
