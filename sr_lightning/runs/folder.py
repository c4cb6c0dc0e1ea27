"""Folder of a run: one chosen by the user, or a new one named after the current time."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from sr_lightning.config.overrides import quote_path
from sr_lightning.distributed.environment import external_rank, is_torchrun
from sr_lightning.errors import UserError
from sr_lightning.files import outward_links, write_atomically
from sr_lightning.runs.lock import LOCK
from sr_lightning.text import enumerated, shown

_PATIENCE = 60.0  # seconds that ranks wait for the first one to name the folder


def claim_folder(name: str, root: Path, chosen: Path | None, *, is_sweep: bool) -> Path:
    """Claims the folder of a run or a sweep, and prints it.

    Args:
        name: Name of the command.
        root: `paths.runs`.
        chosen: Folder chosen by the user, with interpolations resolved, as command lines that look alike may mean
            different folders, and ones that look different the same.
        is_sweep: Use `<root>/sweep/<date_time>` instead of `<root>/<name>/<date_time>`.

    Raises:
        UserError: The folder already contains a run, or cannot be created.
    """
    what = "sweep" if is_sweep else "run"
    if chosen is not None:
        if external_rank() > 0:
            return chosen  # the first rank has checked the folder, and may already be writing to it
        refuse_outward_links(chosen, "hydra.sweep.dir" if is_sweep else "hydra.run.dir")
        if not is_sweep:
            refuse_used(chosen, "hydra.run.dir", is_resumable=name == "train")
        print(f"{what} folder: {chosen}", flush=True)
        return chosen
    root = root / ("sweep" if is_sweep else name)
    if external_rank() > 0:
        return Path(_told_folder(root))
    folder = create_folder(root)
    print(f"{what} folder: {folder}", flush=True)
    if external_rank() == 0:
        _tell_folder(folder, root)
    return folder


def create_folder(root: Path) -> Path:
    """Creates a folder named after the current time.

    Args:
        root: Parent folder, below `paths.runs`.

    Raises:
        UserError: The folder cannot be created.
    """
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    for attempt in range(1, 1000):  # runs that start within the same second get a suffix
        folder = root / (stamp if attempt == 1 else f"{stamp}_{attempt}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"paths.runs: cannot create {folder}: {error.strerror}") from None
        return folder
    raise UserError(f"paths.runs: {root} has a thousand folders of this second")


def folder_overrides(name: str, folder: Path, *, is_sweep: bool) -> list[str]:
    """Overrides that set Hydra's folder; only the first rank writes `.hydra` and the command's log there."""
    own = [quote_path(f"hydra.{'sweep' if is_sweep else 'run'}.dir={folder}")]
    if (rank := external_rank()) > 0:
        own += ["hydra.output_subdir=null", f"hydra.job.name={name}_rank{rank}"]
    return own


def refuse_used(folder: Path, key: str, *, is_resumable: bool) -> None:
    """Raises UserError if a folder already contains a run.

    Args:
        folder: Folder for a new run.
        key: Config key that names the folder, for the message.
        is_resumable: Whether the command could resume that run.
    """
    real = folder.resolve()  # works even if a part of the path that `..` leaves again does not exist yet
    if any((real / file).exists() for file in ("metrics.csv", "results.json")):
        way = f", or ckpt_path={folder} to continue it" if is_resumable else ""
        raise UserError(f"{key}: {folder} holds a run; allowed: a new folder{way}")


def _tell_folder(folder: Path, root: Path) -> None:
    """Announces the folder to the other ranks."""
    if is_torchrun():
        _torchrun_store().set(_store_key(), str(folder))
    else:
        file = _slurm_file(root)
        write_atomically(file, str(folder))
        atexit.register(file.unlink, missing_ok=True)  # all ranks have read it long before the first one ends


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
    """Connects to torchrun's key-value store, which exists before any process group."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch's __all__ leaves it out

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(address, port, is_master=False, timeout=timedelta(seconds=_PATIENCE))


def _store_key() -> str:
    return f"sr_lightning/{os.environ['TORCHELASTIC_RUN_ID']}/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"


def _slurm_file(root: Path) -> Path:
    """Path beside the runs, shared by all nodes, and unique for each job, step and restart."""
    job = ".".join(os.environ.get(f"SLURM_{key}", "0") for key in ("JOB_ID", "STEP_ID", "RESTART_COUNT"))
    return root / f".slurm-{job}"


def refuse_outward_links(folder: Path, key: str) -> None:
    """Refuses a run's folder with links out of it: it is untrusted, and files would be written where the links lead.

    Raises:
        UserError: Files in the folder link to files elsewhere.
    """
    links = [path for path in outward_links(folder) if path.relative_to(folder).parts[0] != "wandb"]
    if links:  # W&B links to its own logs, and determines all names in its folder
        told = enumerated([str(path) for path in links])
        raise UserError(f"{key}: found links that lead out of {folder}: {told}; allowed: the files themselves")


def remove_unused(folder: Path, name: str) -> None:
    """Removes the folder of a run that never began, unless it contains other files."""
    own = re.compile(rf"{re.escape(name)}(_rank\d+)?\.log|{re.escape(LOCK)}|\.hydra/(config|hydra|overrides)\.yaml")
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    if external_rank() > 0 or any(path != ".hydra" and not own.fullmatch(path) for path in found):
        return
    for path in sorted(found.values(), reverse=True):  # folders after their files
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    with contextlib.suppress(OSError):  # another process has written to it in the meantime
        folder.rmdir()
    print(f"the run did not begin; its folder {shown(folder)} is removed", flush=True)
