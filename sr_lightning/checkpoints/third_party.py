"""Third-party networks, recognised and run through spandrel (an optional extra)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from sr_lightning.checkpoints.matching import check_finite, kind_differences, without_prefixes
from sr_lightning.checkpoints.weights import WeightsFile
from sr_lightning.errors import UserError
from sr_lightning.inference.plausibility import lr_consistency, warn_if_implausible
from sr_lightning.models.base import SRNetwork

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor


class ThirdPartyNetwork(SRNetwork):
    """Adapter from spandrel's networks to our interface, for inference only; the output is in [0, 1].

    Args:
        descriptor: Spandrel's descriptor, which knows the supported sizes; images are padded to them, and cropped
            after.
    """

    def __init__(self, descriptor: ImageModelDescriptor) -> None:
        super().__init__()
        self.scales = (int(descriptor.scale),)
        self.name = str(descriptor.architecture.name)
        """Name of the architecture, for tables."""
        self.net: nn.Module = descriptor.model
        self._descriptor = descriptor

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, h, w) RGB in [0, 1] -> (N, 3, h·s, w·s), without a gradient."""
        y: Tensor = self._descriptor(x)
        return y


def load_third_party(file: WeightsFile) -> ThirdPartyNetwork:
    """Builds the network that a weights file belongs to, detected from its names and shapes.

    Args:
        file: The file, already read: spandrel is given tensors and opens nothing.

    Returns:
        The network, in evaluation mode.

    Raises:
        UserError: spandrel is not installed or does not recognise the network, or it is not for RGB super-resolution.
    """
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError:
        raise UserError(
            f"{file.path}: networks of other projects need spandrel; allowed: pip install 'sr_lightning[spandrel]'"
        ) from None
    path, found = file.path, None
    for state in without_prefixes(file.weights):
        try:
            found = ModelLoader().load_from_state_dict(dict(state))
            break
        except UnsupportedModelError:
            continue
        except Exception as error:  # spandrel infers from shapes; malformed files raise its own exceptions there
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"{path}: looks like a network that spandrel knows, but is not: {reason}") from None
    if found is None:
        raise UserError(f"{path}: spandrel does not know the network; its names begin with {next(iter(state))!r}")
    name, channels = found.architecture.name, (found.input_channels, found.output_channels)
    if not isinstance(found, ImageModelDescriptor) or found.purpose != "SR" or found.scale < 2:
        raise UserError(f"{path}: {name} at x{found.scale} is made for {found.purpose}, allowed: super-resolution")
    if channels != (3, 3):
        raise UserError(f"{path}: {name} makes {channels[1]} channels of {channels[0]}, allowed: 3 of 3 (RGB)")
    own = found.model.state_dict()
    loaded = {key: value for key, value in state.items() if key in own}
    try:
        check_finite(loaded)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if kinds := kind_differences(found.model, loaded):
        raise UserError(f"{path}: does not fit {name}\n  {kinds[0]}")
    net = ThirdPartyNetwork(found).eval()
    warn_if_implausible(lr_consistency(net, net.scales[0]), path)
    return net
