"""Resolution of weights given as text: a file, a run's folder, a sweep's folder, or a pretrained name."""

from __future__ import annotations

import json
from pathlib import Path

from sr_lightning.errors import UserError
from sr_lightning.files import finite_number
from sr_lightning.text import nearest
from sr_lightning.weights.pretrained import pretrained_file, pretrained_names


def find_weights_file(text: str) -> Path:
    """Finds the weights file that a user means, wherever weights may be given.

    Existing paths take precedence over pretrained weights of the same name.

    Args:
        text: A file; a run's folder, for its best checkpoint, or its last one if nothing was validated; a sweep's
            folder, for its job with the highest objective; or one of `pretrained_names`.

    Raises:
        UserError: It is none of these; the message does not name a config key.
    """
    path = Path(text)
    if path.is_file():
        return path
    allowed = "a file of weights, the folder of a run or a sweep, or pretrained weights"
    if path.is_dir():
        if (file := _checkpoint(path) or _best_of_sweep(path)) is None:
            raise UserError(f"{text} holds no checkpoints/best.ckpt, nor finished runs that do; allowed: {allowed}")
        return file
    if text in pretrained_names():
        return pretrained_file(text)
    raise UserError(f"{text} is not there; allowed: {allowed}; of these {nearest(text, pretrained_names())}")


def _checkpoint(run: Path) -> Path | None:
    files = (run / "checkpoints" / name for name in ("best.ckpt", "last.ckpt"))
    return next((file for file in files if file.is_file()), None)


def _best_of_sweep(folder: Path) -> Path | None:
    found = [
        (objective, file)
        for job in sorted(folder.iterdir())
        if (objective := _objective(job)) is not None and (file := _checkpoint(job)) is not None
    ]
    return max(found, key=lambda job: job[0], default=(None, None))[1]


def _objective(job: Path) -> float | None:
    """Returns a finished job's objective; None if its results are missing, truncated or have no finite number."""
    try:
        objective = json.loads((job / "results.json").read_text(encoding="utf-8"))["objective"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return finite_number(objective)
