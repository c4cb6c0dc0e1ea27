"""Checkpoint plugin for Lightning: atomic writes with a checksum trailer, reads of plain data only."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from sr_lightning.checkpoints.integrity import HAS_TRAILER, LAST, LOGGED_ROWS, PREVIOUS, Trailer, write_trailer
from sr_lightning.checkpoints.plain_data import read_checkpoint


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes a part file with a checksum trailer, flushes and renames it; reads only intact files of plain data.

    Lightning stages files in `$TMPDIR`, so its save is not atomic if that is on another file system, and it leaves
    `weights_only` to an environment variable. The former `last.ckpt` becomes `previous.ckpt`.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Replaces the file atomically; no part file is left behind, even if this raises."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        link = path.with_name(PREVIOUS + ".part")
        config = checkpoint.get("sr_lightning", {}).get("config")
        try:
            with part.open("w+b") as file:
                torch.save({**checkpoint, HAS_TRAILER: True}, file)
                write_trailer(file, Trailer(checkpoint.get("global_step", -1), config, checkpoint.get(LOGGED_ROWS)))
                file.flush()
                os.fsync(file.fileno())
            if path.name == LAST and path.is_file():
                _second_name(path, link)
                os.replace(link, path.with_name(PREVIOUS))
                # If a kill happened at this point before, both are the same file, and renaming one to itself keeps both
                # names.
                link.unlink(missing_ok=True)
            os.replace(part, path)
        except BaseException:
            for left in (part, link):
                left.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # otherwise the rename itself may not survive a power loss
        finally:
            os.close(folder)

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Reads with `weights_only=True`, always."""
        return read_checkpoint(Path(path), map_location=map_location or "cpu")


def _second_name(path: Path, link: Path) -> None:
    """Gives the file a second name, so that it outlives its replacement; copies it if hard links are unavailable."""
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:
        shutil.copyfile(path, link)
