"""Names and files of the pretrained weights in the package: `model.weights=edsr_tiny_y_x4`.

`weights/README.md` says what they were trained on and what they reach.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


def pretrained_names() -> list[str]:
    """All names, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def find_pretrained(name: str | Path) -> Path:
    """The file that a user means: one at that path, else the pretrained one of that name, else the path as typed."""
    path = Path(name)
    if path.exists() or str(name) not in pretrained_names():
        return path
    return _FOLDER / f"{name}.safetensors"


def weights_location(name: str | Path) -> Path | None:
    """The file of weights that a name stands for; None: there is none.

    Args:
        name: A file, pretrained weights, or a run's folder, which stands for its best checkpoint, or its last one where
            nothing was validated.
    """
    path = find_pretrained(name)
    candidates = (path, path / "checkpoints" / "best.ckpt", path / "checkpoints" / "last.ckpt")
    return next((candidate for candidate in candidates if candidate.is_file()), None)
