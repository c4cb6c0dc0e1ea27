"""Provenance record of an output: written into the file, and read back by a rerun."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sr_lightning import __version__
from sr_lightning.files import sha256

_ANY_VERSION = {"program": "", "source_id": ""}  # neither the version nor the place of the image matters
PROGRAM = f"sr_lightning {__version__}"


@dataclass(frozen=True)
class Work:
    """The network and every option that affects the content of an output."""

    network: str
    """Class name of the network."""
    weights: str
    """Name of the weights file or of the pretrained weights."""
    sha256: str
    """SHA-256 of the weights file."""
    scale: int
    options: dict[str, Any] = field(default_factory=dict)
    """Options that differ from their defaults."""

    def record(self, source: Path) -> str:
        """Returns the record for an image as ASCII JSON; equal records mean equal outputs.

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
    """Returns the name under which a record lists a weights file."""
    return file.stem if file.suffix == ".safetensors" else file.name


def is_same_source(found: str, source: Path) -> bool:
    """Returns whether a record belongs to this image: same file (its content may have changed) or same content.

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
    """Returns whether two records describe the same work, regardless of the program version."""
    try:
        records = [json.loads(record) for record in (found, wanted)]
    except ValueError:
        return False
    return all(isinstance(record, dict) for record in records) and (
        records[0] | _ANY_VERSION == records[1] | _ANY_VERSION
    )


def _source_id(source: Path) -> str:
    """Hash that stands for an image's location; the path itself is not recorded."""
    return hashlib.sha256(os.fsencode(source.resolve())).hexdigest()[:16]
