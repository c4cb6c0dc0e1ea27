"""Which devices compute networks in bfloat16 by themselves."""

from __future__ import annotations

import torch


def is_fast_in_bf16(device: torch.device) -> bool:
    """Whether it computes in bfloat16 by itself; others emulate it slowly."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
