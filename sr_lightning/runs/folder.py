"""Folder of a run: the one that the user names, or a new one named after the time."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from sr_lightning.config.overrides import quote_path
from sr_lightning.distributed.environment import external_rank, is_torchrun
from sr_lightning.errors import UserError
from sr_lightning.files import write_atomically
from sr_lightning.runs.lock import LOCK
from sr_lightning.text import shown

_PATIENCE = 60.0  # seconds that ranks wait for the first to name the folder


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
        The overrides that tell Hydra; without the folder where the user has typed it.

    Raises:
        UserError: The folder holds a run already, or cannot be created.
    """
    key, what = _key(is_sweep=is_sweep), "sweep" if is_sweep else "run"
    # Only the first rank writes `.hydra` and the command's log.
    others = ["hydra.output_subdir=null", f"hydra.job.name={name}_rank{rank}"] if (rank := external_rank()) > 0 else []
    if folder := chosen_folder(overrides, is_sweep=is_sweep):
        if others:
            return others  # the first has looked at the folder, and may have begun to write into it
        if not is_sweep and any((folder / file).exists() for file in ("metrics.csv", "results.json")):
            way = f", or ckpt_path={folder} to continue it" if name == "train" else ""
            raise UserError(f"{key}: {folder} holds a run; allowed: a new folder{way}")
        print(f"{what} folder: {folder}", flush=True)
        return []
    root = root / ("sweep" if is_sweep else name)
    if others:
        return [quote_path(f"{key}={_told_folder(root)}"), *others]
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
        if external_rank() == 0:
            _tell_folder(folder, root)
        return [quote_path(f"{key}={folder}")]
    raise UserError(f"paths.runs: {root} has a thousand folders of this second")


def _tell_folder(folder: Path, root: Path) -> None:
    """Tells the other ranks the folder."""
    if is_torchrun():
        _torchrun_store().set(_store_key(), str(folder))
    else:
        file = _slurm_file(root)
        write_atomically(file, str(folder))
        atexit.register(file.unlink, missing_ok=True)  # all have read it long before the first rank ends


def _told_folder(root: Path) -> str:
    if is_torchrun():
        told: bytes = _torchrun_store().get(_store_key())
        return told.decode()
    file = _slurm_file(root)
    deadline = time.monotonic() + _PATIENCE
    while not file.exists():
        if time.monotonic() > deadline:
            raise UserError(f"{file}: the first rank has not named the run's folder in {_PATIENCE:.0f} s")
        time.sleep(0.1)
    return file.read_text(encoding="utf-8")


def _torchrun_store() -> Any:
    """Torchrun's own key-value store, which exists before any process group."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch's __all__ leaves it out

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(address, port, is_master=False, timeout=timedelta(seconds=_PATIENCE))


def _store_key() -> str:
    return f"sr_lightning/{os.environ['TORCHELASTIC_RUN_ID']}/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"


def _slurm_file(root: Path) -> Path:
    """Lies beside the runs, which all nodes share; the same job, step and restart never occur twice."""
    job = ".".join(os.environ.get(f"SLURM_{key}", "0") for key in ("JOB_ID", "STEP_ID", "RESTART_COUNT"))
    return root / f".slurm-{job}"


def remove_unused(folder: Path, name: str) -> None:
    """Removes the folder of a run that never began, unless it holds other files."""
    logs = re.compile(rf"{re.escape(name)}(_rank\d+)?\.log")
    own = (".hydra", LOCK)
    if external_rank() > 0 or any(path.name not in own and not logs.fullmatch(path.name) for path in folder.iterdir()):
        return
    shutil.rmtree(folder)
    print(f"the run did not begin; its folder {shown(folder)} is removed", flush=True)


def _key(*, is_sweep: bool) -> str:
    return "hydra.sweep.dir" if is_sweep else "hydra.run.dir"
