"""Numerical precision of devices: bfloat16 support, and float32 without rounding to TF32."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def is_fast_in_bf16(device: torch.device) -> bool:
    """Whether the device has native bfloat16 arithmetic; others emulate it slowly."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8  # of this device, not of the current one
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


_lock = threading.Lock()
_before: list[list[str]] = []
"""The settings at the start of each active block of `exact_float32`, in any thread; the first are the user's."""


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Runs convolutions and matrix products on CUDA without TF32, which rounds the factors of float32 to 10 bits.

    Results then match those of a CPU. Other devices are unaffected.
    """
    if device.type != "cuda":
        yield
        return
    backends: Any = torch.backends  # its attributes are created at run time
    operations = (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)
    with _lock:  # threads of several GPUs share the settings: the first saves them, the last restores them
        _before.append([operation.fp32_precision for operation in operations])
        for operation in operations:
            operation.fp32_precision = "ieee"
    try:
        yield
    finally:
        with _lock:
            saved = _before.pop()
            if not _before:
                for operation, precision in zip(operations, saved, strict=True):
                    operation.fp32_precision = precision


def float32_kind(device: torch.device) -> str:
    """Describes how float32 networks currently compute there: by default, convolutions on CUDA use TF32."""
    backends: Any = torch.backends
    is_rounded = device.type == "cuda" and backends.cudnn.conv.fp32_precision == "tf32"
    return "float32 (TF32 convolutions)" if is_rounded and torch.cuda.is_tf32_supported() else "float32"
