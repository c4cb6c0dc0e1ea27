"""Tuning of glibc's memory allocator, so that large buffers are reused instead of being mapped anew."""

from __future__ import annotations

import ctypes
import os
import sys

from sr_lightning.errors import UserError

VARIABLE = "SR_MALLOC"
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # constants from malloc.h
_LARGEST = 2**31 - 1  # bytes; maximum int for mallopt
# If any of these is set, the user has already chosen.
_CHOSEN = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TOP_PAD_")

_setting = "default"


def malloc_setting() -> str:
    """Returns how this process allocates, for a run's records: `default` or `large buffers kept`."""
    return _setting


def keep_large_buffers(accelerator: str) -> None:
    """Lets glibc keep freed buffers of up to 2 GiB for runs on a CPU; call it before the first is allocated.

    By default glibc maps each buffer above 32 MB anew and unmaps it when freed. The feature maps of every step are such
    buffers, and the kernel has to zero each of their pages again. No computed value is affected.

    glibc is left unchanged by `SR_MALLOC=default`, by its own variables (`MALLOC_MMAP_THRESHOLD_`, `GLIBC_TUNABLES`),
    by a preloaded allocator, with another C library, and for a run on a GPU.

    Args:
        accelerator: Accelerator of the run: `cpu`, `gpu`, `cuda`, `auto` …

    Raises:
        UserError: `SR_MALLOC` has another value.
    """
    global _setting  # per process, as glibc's own setting is
    if (found := os.environ.get(VARIABLE, "")) not in ("", "default"):
        raise UserError(f"{VARIABLE}: found {found!r}, allowed: default (glibc's own thresholds), or not set")
    if found or not _is_cpu(accelerator) or _is_chosen() or (libc := _glibc()) is None:
        return
    # Both or neither. Versions that refuse more than 32 MiB return 0.
    if libc.mallopt(_MMAP_THRESHOLD, _LARGEST) and libc.mallopt(_TRIM_THRESHOLD, _LARGEST):
        _setting = "large buffers kept"


def _is_cpu(accelerator: str) -> bool:
    if accelerator != "auto":
        return accelerator == "cpu"
    import torch

    return not torch.cuda.is_available()


def _is_chosen() -> bool:
    environment = os.environ
    tunables, preloaded = environment.get("GLIBC_TUNABLES", ""), environment.get("LD_PRELOAD", "")
    return any(name in environment for name in _CHOSEN) or "glibc.malloc." in tunables or "malloc" in preloaded


def _glibc() -> ctypes.CDLL | None:
    """Returns the C library of this process if it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "mallopt") else None
