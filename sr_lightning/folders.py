"""Where a run lies: the folder that the user names, or a new one named after the time."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

from sr_lightning.compose import quote_path
from sr_lightning.errors import UserError


def chosen_folder(overrides: list[str], *, is_sweep: bool) -> Path | None:
    """The folder that the user has typed."""
    typed = [o for o in overrides if o.lstrip("+").startswith(f"{_key(is_sweep=is_sweep)}=")]
    return Path(str(OverridesParser.create().parse_override(typed[-1]).value())) if typed else None


def claim_folder(name: str, root: Path, overrides: list[str], *, is_sweep: bool) -> list[str]:
    """Claims a run's or a sweep's folder and prints it.

    Args:
        name: The command.
        root: `paths.runs`.
        overrides: As typed, paths quoted.
        is_sweep: `<root>/sweep/<date_time>` instead of `<root>/<name>/<date_time>`.

    Returns:
        The override that tells Hydra; none where the user has typed it.

    Raises:
        UserError: The folder holds a run already, or cannot be created.
    """
    key, what = _key(is_sweep=is_sweep), "sweep" if is_sweep else "run"
    if folder := chosen_folder(overrides, is_sweep=is_sweep):
        if not is_sweep and (folder / "metrics.csv").exists():
            raise UserError(f"{key}: {folder} holds a run; allowed: a new folder, or ckpt_path={folder} to continue it")
        print(f"{what} folder: {folder}", flush=True)
        return []
    root = root / ("sweep" if is_sweep else name)
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    for attempt in range(1, 1000):  # runs that start in the same second get a suffix
        folder = root / (stamp if attempt == 1 else f"{stamp}_{attempt}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"paths.runs: cannot create {folder}: {error.strerror}") from None
        print(f"{what} folder: {folder}", flush=True)
        return [quote_path(f"{key}={folder}")]
    raise UserError(f"paths.runs: {root} has a thousand folders of this second")


def remove_unused(folder: Path, name: str) -> None:
    """Takes away the folder of a run that never began; anything else in it keeps it."""
    if any(path.name not in (".hydra", f"{name}.log") for path in folder.iterdir()):
        return
    shutil.rmtree(folder)
    print(f"nothing was trained, so that {shown(folder)} is removed", flush=True)


def shown(path: Path) -> str:
    """A path as the user would type it: relative where it lies below the working folder."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _key(*, is_sweep: bool) -> str:
    return "hydra.sweep.dir" if is_sweep else "hydra.run.dir"
