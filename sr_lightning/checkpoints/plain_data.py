"""Reading of checkpoint files as plain data, without executing anything in them."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from sr_lightning.checkpoints.integrity import HAS_TRAILER, read_trailer
from sr_lightning.errors import UserError


def read_checkpoint(path: Path, *, map_location: Any = "cpu") -> dict[str, Any]:
    """Reads a checkpoint file, verifying the checksums of our own files.

    Raises:
        UserError: The file is damaged, or contains more than plain data.
    """
    try:
        read_trailer(path)
        _check_size(path)
        content = torch.load(path, map_location=map_location, weights_only=True)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: cannot be read as a checkpoint of plain data: {_reason(path, error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, allowed: a checkpoint or a dict of weights")
    content.pop(HAS_TRAILER, None)
    return content


def _check_size(path: Path) -> None:
    """Refuses archives that unpack to more than their size, as torch stores each record uncompressed and once."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked, size = sum(entry.file_size for entry in archive.infolist()), path.stat().st_size
    if unpacked > size:
        raise UserError(
            f"{path}: unpacks to {unpacked:,} bytes, allowed: its own size, {size:,} (torch never compresses)"
        )


def _reason(path: Path, error: Exception) -> str:
    """Explains what is wrong with the file; torch's own advice is to disable the protection."""
    if not path.is_file() or isinstance(error, PermissionError):
        return str(error)
    with path.open("rb") as file:
        beginning = file.read(64).lstrip()
    if not beginning:
        return "the file is empty"
    if beginning[:1] == b"<":
        return "it is a web page; allowed: the file that the page offers"
    if beginning.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; allowed: the file that it points to (git lfs pull)"
    if isinstance(error, pickle.UnpicklingError):
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it holds {found[1]}" if found else "it holds more than tensors, numbers and texts, or is damaged"
        return f"{what}, and nothing in a file is executed here; allowed: the state dict, saved anew by its own project"
    return f"it is damaged, or no file of weights ({(str(error).splitlines() or [type(error).__name__])[0]})"
