"""Networks that are not ours, from their authors' files, through spandrel (an optional extra)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from sr_lightning.checkpoints.matching import unwrapped
from sr_lightning.checkpoints.weights import read_weights
from sr_lightning.errors import UserError

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor


class ForeignNetwork(nn.Module):
    """A network of spandrel's with our interface; for inference only, its output lies in [0, 1].

    Args:
        descriptor: It knows the sizes that the network takes; images are padded to them, and cut after.
    """

    channels = 3

    def __init__(self, descriptor: ImageModelDescriptor) -> None:
        super().__init__()
        self.scales = (int(descriptor.scale),)
        self.name = str(descriptor.architecture.name)
        """The architecture's, for tables."""
        self.net: nn.Module = descriptor.model
        self._descriptor = descriptor

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, h, w) RGB in [0, 1] -> (N, 3, h·s, w·s), without a gradient."""
        y: Tensor = self._descriptor(x)
        return y


def load_foreign(path: Path | str) -> ForeignNetwork:
    """The network that a file of weights belongs to, found by its names and shapes.

    The file is read as any other of weights: spandrel gets tensors and opens nothing.

    Args:
        path: A file of weights.

    Returns:
        A network in evaluation mode.

    Raises:
        UserError: spandrel is not installed, does not know the network, or it does no super-resolution of RGB.
    """
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError:
        raise UserError(
            f"{path}: networks of other projects need spandrel; allowed: pip install 'sr_lightning[spandrel]'"
        ) from None
    path, found = Path(path), None
    for state in unwrapped(read_weights(path)):
        try:
            found = ModelLoader().load_from_state_dict(dict(state))
            break
        except UnsupportedModelError:
            continue
        except Exception as error:  # spandrel infers from shapes; what a malformed file raises there is its own
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"{path}: looks like a network that spandrel knows, but is not: {reason}") from None
    if found is None:
        raise UserError(f"{path}: spandrel does not know the network; its names begin with {next(iter(state))!r}")
    name, channels = found.architecture.name, (found.input_channels, found.output_channels)
    if not isinstance(found, ImageModelDescriptor) or found.purpose != "SR" or found.scale < 2:
        raise UserError(f"{path}: {name} at x{found.scale} is made for {found.purpose}, allowed: super-resolution")
    if channels != (3, 3):
        raise UserError(f"{path}: {name} makes {channels[1]} channels of {channels[0]}, allowed: 3 of 3 (RGB)")
    return ForeignNetwork(found).eval()
