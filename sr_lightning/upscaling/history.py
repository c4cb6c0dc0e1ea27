"""The record of what was done to an image: written into the output, and read back by a rerun."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sr_lightning import __version__
from sr_lightning.files import sha256

_ANY_VERSION = {"program": "", "source_id": ""}  # nor does it matter where the same image lies
PROGRAM = f"sr_lightning {__version__}"


@dataclass(frozen=True)
class Work:
    """The network, and all options that decide what an output holds."""

    network: str
    """Its class."""
    weights: str
    """The file's name, or that of pretrained weights."""
    sha256: str
    """Of the weights file."""
    scale: int
    options: dict[str, Any] = field(default_factory=dict)
    """Those that differ from their defaults."""

    def record(self, source: Path) -> str:
        """The record of an image, JSON in ASCII; equal records mean equal outputs.

        Raises:
            OSError: The image cannot be read.
        """
        record: dict[str, Any] = {
            "program": PROGRAM,
            "network": self.network,
            "weights": self.weights,
            "weights_sha256": self.sha256,
            "scale": self.scale,
            "source_sha256": sha256(source),
            "source_id": _source_id(source),
        }
        return json.dumps(record | ({"options": self.options} if self.options else {}))


def weights_name(file: Path) -> str:
    """What a record calls a file of weights."""
    return file.stem if file.suffix == ".safetensors" else file.name


def is_same_source(found: str, source: Path) -> bool:
    """Whether a record is of that image: of the same file, which may have changed, or of the same content.

    Raises:
        OSError: The image cannot be read.
    """
    try:
        record = json.loads(found)
    except ValueError:
        return False
    return isinstance(record, dict) and (
        record.get("source_id") == _source_id(source) or record.get("source_sha256") == sha256(source)
    )


def is_same_work(found: str, wanted: str) -> bool:
    """Whether two records are of the same work, by whatever version of the program."""
    try:
        records = [json.loads(record) for record in (found, wanted)]
    except ValueError:
        return False
    return all(isinstance(record, dict) for record in records) and (
        records[0] | _ANY_VERSION == records[1] | _ANY_VERSION
    )


def _source_id(source: Path) -> str:
    """Stands for the place of an image; the path itself is nobody's business."""
    return hashlib.sha256(os.fsencode(source.resolve())).hexdigest()[:16]
