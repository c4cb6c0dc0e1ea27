"""The weights that come with the package, by name: `model.weights=edsr_tiny_y_x4`, `checkpoint=edsr_tiny_y_x4`.

What they were trained on and what they reach stands in `weights/README.md`.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


def shipped_weights() -> list[str]:
    """The names, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def find_weights(name: str | Path) -> Path:
    """The file that a user means: one of that name where he stands, else the shipped one, else what he typed."""
    path = Path(name)
    if path.exists() or str(name) not in shipped_weights():
        return path
    return _FOLDER / f"{name}.safetensors"
