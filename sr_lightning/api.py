"""Python API: loads a network from anything that names its weights, and upscales images with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from sr_lightning.builders.load_network import load_network
from sr_lightning.errors import UserError
from sr_lightning.image.alpha import spread_colours
from sr_lightning.image.source_image import SourceImage, from_pillow, read_source
from sr_lightning.inference.forward import device_of
from sr_lightning.inference.upscaler import Precision, Tile, Upscaler
from sr_lightning.models.base import network_traits
from sr_lightning.upscaling.enlarge import enlarged_rows
from sr_lightning.upscaling.size import Target


def load(
    weights: str | Path,
    *,
    scale: int | None = None,
    model: dict[str, Any] | None = None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Loads a network with its weights. Nothing in a file is ever executed.

    Args:
        weights: The name of pretrained weights (`list_pretrained()`), a run's folder (its best checkpoint), a
            checkpoint, another project's file of weights, or an ONNX file (run by onnxruntime, on the CPU).
        scale: Required scale; a network that does not support it is refused.
        model: Network config for files that do not contain one: `{"_target_": "my_package.Net", "scale": 4}`.
        device: Device to compute on.

    Returns:
        A plain module in evaluation mode: (N, C, h, w) in [0, 1] -> (N, C, h·s, w·s). `scales` holds the supported
        scale factors, `scale` the largest of them, and `channels` is 1 if it works on Y; `upscale_image` handles
        colour.

    Raises:
        UserError: There is no such file, it is damaged, no network fits it, or the network does not support `scale`.
    """
    network = load_network(weights, model=model)
    net = network.net.to(device)
    chosen = network.choose_scale(scale)
    for name, value in (("scale", chosen), ("scales", network.scales or (chosen,))):
        setattr(net, name, value)
    return net


class Options(TypedDict, total=False):
    """The keyword arguments of `upscale_image`, for type checkers."""

    scale: int | None
    tile: Tile
    overlap: int | None
    self_ensemble: bool
    precision: Precision
    back_projection: int


@overload
def upscale_image(net: nn.Module, image: str | Path | Image.Image, **options: Unpack[Options]) -> Image.Image: ...
@overload
def upscale_image(net: nn.Module, image: NDArray[Any], **options: Unpack[Options]) -> NDArray[Any]: ...
@overload
def upscale_image(net: nn.Module, image: Tensor, **options: Unpack[Options]) -> Tensor: ...
def upscale_image(
    net: nn.Module,
    image: str | Path | Image.Image | NDArray[Any] | Tensor,
    *,
    scale: int | None = None,
    tile: Tile = "auto",
    overlap: int | None = None,
    self_ensemble: bool = False,
    precision: Precision = "float32",
    back_projection: int = 0,
) -> Image.Image | NDArray[Any] | Tensor:
    """Upscales an image on the network's device, in tiles if it is large.

    Args:
        net: Network from `load`, or any network of `sr_lightning.models`.
        image: A file or a Pillow image (grey, RGB, either with alpha, a palette, CMYK; 8 bit, or 16-bit grey); an array
            (H, W) or (H, W, C), uint8, uint16, or floating point in [0, 1]; a tensor (N, C, h, w), floating point in
            [0, 1] or uint8. C is 1 for grey, 3 for RGB, and one more with alpha (not premultiplied).
        scale: One of the network's scales; None: the only one, or the largest.
        tile: Tile size; for this and the following arguments, see `inference.upscaler.Upscaler`.
        overlap: LR pixels of context beyond each side of a tile.
        self_ensemble: Average over the eight flips and rotations.
        precision: `float32`, `bf16`, or `auto`.
        back_projection: Number of steps that make the downscaled result match the input.

    Returns:
        The same kind, type and number of channels; for a file a Pillow image, with its colour profile and EXIF data.

    Raises:
        UserError: The image cannot be read or is not an image, the network does not support the scale, or a setting has
            an invalid value.
        FailedError: There is not enough memory even for small tiles, or the network's output is not finite.

    >>> import numpy as np
    >>> from sr_lightning import load, upscale_image
    >>> upscale_image(load("edsr_tiny_y_x2"), np.zeros((5, 7, 3), np.uint8)).shape
    (10, 14, 3)
    """
    if not isinstance(net, nn.Module):
        raise UserError(f"net: found {net!r}, allowed: a network, such as load('edsr_small_y_x4')")
    if not isinstance(image, str | Path | Image.Image | np.ndarray | Tensor):
        kinds = "a file, a Pillow image, an array, a tensor"
        raise UserError(f"image: found {type(image).__name__}, allowed: {kinds}")
    upscaler = Upscaler(
        net,
        _scale(net, scale),
        device=device_of(net) or "cpu",
        tile=tile,
        overlap=overlap,
        self_ensemble=self_ensemble,
        precision=precision,
        back_projection=back_projection,
    )
    was_training = net.training
    net.eval()
    try:
        if isinstance(image, Tensor):
            return _tensor(upscaler, image)
        if isinstance(image, np.ndarray):
            return _array(upscaler, image)
        return _pillow(upscaler, from_pillow(image) if isinstance(image, Image.Image) else read_source(image))
    finally:
        net.train(was_training)


def _scale(net: nn.Module, asked: int | None) -> int:
    scales = network_traits(net).scales
    if asked is None and scales:
        return max(scales)
    if asked is None or (scales and asked not in scales):
        raise UserError(f"scale: found {asked}, allowed: {', '.join(map(str, scales)) or 'the scale of the network'}")
    return asked


def _enlarged(upscaler: Upscaler, levels: NDArray[Any]) -> NDArray[Any]:
    """Maps (h, w, C) -> (h·s, w·s, C) of the same type."""
    lr = spread_colours(levels) if levels.shape[2] % 2 == 0 else levels
    size = levels.shape[0] * upscaler.scale, levels.shape[1] * upscaler.scale
    return np.concatenate(list(enlarged_rows(upscaler, lr, Target(size, upscaler.scale, 1), lr.dtype.type)))


def _array(upscaler: Upscaler, image: NDArray[Any]) -> NDArray[Any]:
    is_float = image.dtype.kind == "f"
    if image.ndim not in (2, 3) or (image.ndim == 3 and not 1 <= image.shape[2] <= 4) or not image.size:
        raise UserError(f"image: found an array {image.shape}, allowed: (H, W), or (H, W, C) with C from 1 to 4")
    if not is_float and image.dtype not in (np.uint8, np.uint16):
        raise UserError(f"image: found an array of {image.dtype}, allowed: uint8, uint16, floating point in [0, 1]")
    levels = image.astype(np.float32) if is_float else image
    if is_float and not (np.isfinite(levels).all() and levels.min() >= 0 and levels.max() <= 1):
        raise UserError(f"image: found values from {levels.min():g} to {levels.max():g}, allowed: [0, 1]")
    result = _enlarged(upscaler, levels if levels.ndim == 3 else levels[:, :, None])
    return (result if image.ndim == 3 else result[:, :, 0]).astype(image.dtype, copy=False)


def _tensor(upscaler: Upscaler, image: Tensor) -> Tensor:
    if image.ndim != 4:
        raise UserError(f"image: found a tensor {tuple(image.shape)}, allowed: (N, C, h, w)")
    arrays = image.detach().to("cpu", torch.float32 if image.is_floating_point() else image.dtype)
    results = [_array(upscaler, array) for array in arrays.permute(0, 2, 3, 1).numpy()]
    return torch.from_numpy(np.stack(results)).permute(0, 3, 1, 2).to(image.device, image.dtype)


def _pillow(upscaler: Upscaler, source: SourceImage) -> Image.Image:
    levels = source.levels
    if levels.dtype == np.uint16 and levels.shape[2] > 1:
        raise UserError(
            f"{source.kind} with 16 bits a channel: Pillow has no such image; allowed: an array (uint16), or "
            "python -m sr_lightning.upscale"
        )
    result = _enlarged(upscaler, levels)
    image = Image.fromarray(result[:, :, 0] if result.shape[2] == 1 else result)
    metadata = source.metadata.for_output(result.shape[:2], result.shape[2])
    image.info |= {"icc_profile": metadata.icc} if metadata.icc else {}
    if exif := metadata.exif_bytes():
        image.info["exif"] = exif
    return image
