"""Backend of the demo: upscales an uploaded file like `upscale`, along with a bicubic version."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from sr_lightning.builders.load_network import LoadedNetwork, load_network
from sr_lightning.errors import UserError
from sr_lightning.image.source_image import source_size
from sr_lightning.inference.upscaler import Upscaler
from sr_lightning.models import Bicubic
from sr_lightning.text import nearest, single_line
from sr_lightning.upscaling.history import Work, weights_name
from sr_lightning.upscaling.image_job import Done, Writing, upscale_file
from sr_lightning.upscaling.size import Sizing
from sr_lightning.upscaling.sources import Task
from sr_lightning.weights.pretrained import DEFAULT_WEIGHTS, pretrained_names, pretrained_scale

_KEPT = 4  # number of results; the page keeps its own copy of those on display


@dataclass(frozen=True)
class Weights:
    """Weights on offer."""

    label: str
    sources: dict[int, str]
    """Scale -> source, as accepted by `load_network`."""

    @property
    def scales(self) -> tuple[int, ...]:
        """Available scales."""
        return tuple(sorted(self.sources))


@dataclass(frozen=True)
class Enlarged:
    """Result for a file."""

    bicubic: Path
    result: Path
    done: Done
    network: str
    """Name, scale and weights of the network."""


def pretrained_weights() -> list[Weights]:
    """Returns the weights in the package, the default first."""
    found: dict[str, dict[int, str]] = {}
    for name in pretrained_names():
        found.setdefault(name.rpartition("_x")[0], {})[pretrained_scale(name)] = name
    return [
        Weights(label, found[label]) for label in sorted(found, key=lambda label: (label != DEFAULT_WEIGHTS, label))
    ]


class Enlarger:
    """Networks that are loaded on demand, and a folder for their results.

    Args:
        weights: The weights on offer.
        folder: Folder for the results, of which only the latest few are kept.
        device: Device of the networks.
        max_megapixels: Maximum size of an input.
    """

    def __init__(self, weights: Sequence[Weights], folder: Path, *, device: str, max_megapixels: float) -> None:
        self.weights = {entry.label: entry for entry in weights}
        self.max_megapixels = max_megapixels
        self._folder, self._device = folder, device
        self._known: dict[str, tuple[Upscaler, Work]] = {}
        self._results: deque[Path] = deque()

    def load(self, label: str, scale: int) -> tuple[Upscaler, Work]:
        """Returns the network for a choice, loaded at most once.

        Raises:
            UserError: The choice does not exist, or the network cannot be loaded.
        """
        entry = self.weights.get(label)
        if entry is None:
            raise UserError(f"weights: found {label!r}, {nearest(label, self.weights)}")
        if (source := entry.sources.get(scale)) is None:
            raise UserError(f"scale: {label} is for x{', x'.join(map(str, entry.scales))}, found {scale!r}")
        key = f"{source} x{scale}"
        if key not in self._known:
            network = load_network(source)
            work = Work(network.label, weights_name(network.file), network.sha256, network.choose_scale(scale))
            self._known[key] = self._upscaler(network.net, scale), work
        return self._known[key]

    def enlarge(
        self, source: Path, label: str, scale: int, *, progress: Callable[[float], None] = lambda _: None
    ) -> Enlarged:
        """Enlarges a file to PNG.

        Args:
            source: The file.
            label: One of `weights`.
            scale: One of its scales.
            progress: Called with the fraction of the work that is done.

        Raises:
            UserError: The file is not an image or is too large, or the choice does not exist.
            FailedError: See `Upscaler.rows`.
        """
        self._check_size(source)
        upscaler, work = self.load(label, scale)
        bicubic = self._upscaler(Bicubic(scale), scale), Work("Bicubic", "none", "", scale)
        folder = self._next_folder()
        height, width = source_size(source)
        todo = height * width * scale**2 * 2 / 1e6
        megapixels = 0.0

        def advance(more: float) -> None:
            nonlocal megapixels
            megapixels += more
            progress(megapixels / todo)

        def make(name: str, upscaler: Upscaler, work: Work) -> Done:
            task = Task(source, folder / name, "png")
            return upscale_file(task, upscaler, Sizing(scale), work, Writing(), progress=advance)

        before = make(f"{source.stem}_bicubic.png", *bicubic)
        done = make(f"{source.stem}_x{scale}.png", upscaler, work)
        network = f"{work.network} x{scale}, weights {work.weights}"
        return Enlarged(before.task.output, done.task.output, done, network)

    def _check_size(self, source: Path) -> None:
        height, width = source_size(source)
        if height * width > self.max_megapixels * 1e6:
            raise UserError(
                f"{source.name} is {width}x{height}; allowed: up to {self.max_megapixels:g} megapixels. "
                "python -m sr_lightning.upscale takes any size, and max_megapixels=… raises the limit of this page."
            )

    def _next_folder(self) -> Path:
        while len(self._results) >= _KEPT:
            shutil.rmtree(self._results.popleft(), ignore_errors=True)
        self._results.append(Path(tempfile.mkdtemp(dir=self._folder)))
        return self._results[-1]

    def _upscaler(self, net: nn.Module, scale: int) -> Upscaler:
        return Upscaler(net, scale, device=self._device)


def checkpoint_weights(checkpoint: str, network: LoadedNetwork, scale: int | None) -> Weights:
    """Offers the user's own checkpoint as a choice.

    Raises:
        UserError: The network does not support this scale, or does not state its scale.
    """
    scales = network.scales or (network.choose_scale(scale),)
    return Weights(single_line(checkpoint), dict.fromkeys(scales, checkpoint))
