"""Names and files of the pretrained weights in the package: `model.weights=edsr_tiny_y_x4`.

`weights/README.md` says what they were trained on and what they reach.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


def pretrained_names() -> list[str]:
    """All names, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def pretrained_scale(name: str) -> int:
    """The scale that one of `pretrained_names` is for."""
    return int(name.rpartition("_x")[2])


def pretrained_file(name: str) -> Path:
    """The file of one of `pretrained_names`."""
    return _FOLDER / f"{name}.safetensors"
