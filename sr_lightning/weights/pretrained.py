"""Names and files of the pretrained weights in the package: `model.weights=edsr_tiny_y_x4`.

`weights/README.md` documents their training data and results.
"""

from __future__ import annotations

from pathlib import Path

DEFAULT_WEIGHTS = "edsr_small_y_clean"
"""Default weights for upscaling, without the scale suffix: trained for practical use, not for benchmarks."""
DEFAULT_SCALES = (2, 3, 4)
_FOLDER = Path(__file__).resolve().parent


def pretrained_names() -> list[str]:
    """Returns all names, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def pretrained_figures(name: str) -> dict[str, str]:
    """Returns PSNR / SSIM on Y by test set, from the table in `weights/README.md`; empty if it lacks the name."""
    rows = [line.strip("| ").split(" | ") for line in (_FOLDER / "README.md").read_text("utf-8").splitlines()]
    head = next(row for row in rows if row[0] == "name")
    return next((dict(zip(head[2:4], row[2:4], strict=True)) for row in rows if row[0] == f"`{name}`"), {})


def pretrained_scale(name: str) -> int:
    """Returns the scale of one of `pretrained_names`."""
    return int(name.rpartition("_x")[2])


def pretrained_file(name: str) -> Path:
    """Returns the file of one of `pretrained_names`."""
    return _FOLDER / f"{name}.safetensors"
