"""Description that an exported file carries: scale, colours, sizes, tiles, weights."""

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
"""Metadata key in every format; its value is JSON."""
FORMAT = 1
_LARGEST = 4096  # maximum of any number in a card


@dataclass(frozen=True)
class Card:
    """Describes to programs and people how to use the file. A card from a file is untrusted: see `read`."""

    network: str
    """Class name of the network."""
    scale: int
    precision: Precision
    """Precision of weights and arithmetic; input and output are float32."""
    min_size: int
    """Minimum side of an image in pixels; every larger size works."""
    tile_margin: int | None
    """LR pixels around a tile on which its SR pixels depend; None if unbounded, so that tiles change the result."""
    tile_step: int
    """Tiles begin at multiples of this."""
    weights: str
    weights_sha256: str
    colour: str = "RGB"
    figures: dict[str, str] = field(default_factory=dict)
    """PSNR / SSIM on Y by test set, as far as known."""
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
        """Creates the card of a network; its receptive field is measured.

        Args:
            net: A network in evaluation mode.
            scale: The exported scale.
            network: Name of the network.
            precision: Precision of the file.
            weights: Name of the weights file.
            sha256: SHA-256 of the weights file.
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
        """Returns the card as one line of ASCII JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Self:
        """Parses a card from a file, validating every value that a program would act on.

        Raises:
            ValueError: The text is not a card, or is one of another version.
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
