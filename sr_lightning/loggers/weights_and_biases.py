"""Weights & Biases logger: one W&B run for each run folder, offline unless asked otherwise."""

from __future__ import annotations

import netrc
import os
import re
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from sr_lightning.distributed.environment import ranks
from sr_lightning.errors import UserError
from sr_lightning.files import inside, write_atomically

Artifacts = Literal["none", "best", "all"]
_MAX_ID = 64
_STEP = "trainer/global_step"


class WandbRun(WandbLogger):
    """Lightning's logger, with the best instead of the last validation in the W&B summary."""

    artifacts: Artifacts = "none"
    """See `wandb_logger`."""

    @rank_zero_only
    def define_best(self, best: Mapping[str, bool]) -> None:
        """Declares metrics whose best value goes into the summary: `val/psnr_y` becomes `val/psnr_y.max` there.

        Args:
            best: Name -> whether higher is better.
        """
        for name, is_higher_better in best.items():
            summary = "max" if is_higher_better else "min"
            self.experiment.define_metric(name, step_metric=_STEP, step_sync=True, summary=summary)
        self.experiment.define_metric("time/*", step_metric=_STEP, step_sync=True, summary="mean")


def wandb_logger(
    *,
    folder: str,
    mode: Literal["offline", "online", "disabled"] = "offline",
    project: str = "sr_lightning",
    entity: str | None = None,
    name: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: list[str] | None = None,
    notes: str | None = None,
    artifacts: Artifacts = "none",
    code: bool = False,
) -> WandbRun:
    """Creates a W&B run; resuming the run's folder resumes the same W&B run.

    Args:
        folder: The run's folder.
        mode: `offline` writes below the folder and uses no network; `online` needs a key and a network;
            `disabled` writes nothing.
        project: W&B project.
        entity: W&B user or team.
        name: Display name; None for the folder's, prefixed with the sweep's.
        group: Name shared by the jobs of a sweep or the trials of a study.
        job_type: `train`, `evaluate`, `trial`, …
        tags: W&B tags.
        notes: W&B notes.
        artifacts: Weights saved as a model artifact when the run ends: `none`; `best`, with the test figures as its
            metadata; `all`, which adds the last checkpoint and the config.
        code: Let W&B record the repository of the working folder: URL, commit and uncommitted changes, which may
            contain secrets. The commit of this package is in the config in any case, as `run.commit`.

    Raises:
        UserError: `online` was requested without an API key or a network connection.
    """
    if mode == "online":
        _check_online()
    base = Path(folder).absolute() / "wandb"
    base.mkdir(parents=True, exist_ok=True)
    _keep_files_in(base / "local")
    import wandb

    logger = WandbRun(
        save_dir=folder,
        project=project,
        entity=entity,
        name=name or _shown_name(Path(folder), group),
        group=group,
        job_type=job_type,
        tags=tags,
        notes=notes,
        id=_run_id(base / "run_id"),
        resume="allow",
        mode=mode,
        settings=wandb.Settings(silent=True, console="off", init_timeout=15, disable_git=not code, disable_code=True),
    )
    logger.artifacts = artifacts
    # Lightning passes it on even if it is unset, and W&B warns about it in every run.
    logger._wandb_init.pop("anonymous", None)
    return logger


_chosen_here: dict[str, str] = {}
"""W&B environment variables that this process set for an earlier run."""


def _keep_files_in(folder: Path) -> None:
    """Redirects what W&B would otherwise leave in the user's home, unless the user has set a folder."""
    for variable in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR"):
        if os.environ.get(variable) in (None, _chosen_here.get(variable)):
            os.environ[variable] = _chosen_here[variable] = str(folder)


def _shown_name(folder: Path, group: str | None) -> str:
    """Returns the folder's name, prefixed with the group for jobs of a sweep, which are `0`, `1`, … in every sweep."""
    return f"{group}/{folder.name}" if group is not None and folder.parent.name == group else folder.name


def _run_id(file: Path) -> str:
    if ranks().rank != 0:
        return "unused"  # only the main process logs
    file = inside(file.parent, file.name)
    if not file.exists() or not file.stat().st_size:  # empty after a full disk
        write_atomically(file, uuid.uuid4().hex[:12])
    with file.open(encoding="utf-8", errors="replace") as opened:
        found = opened.read(_MAX_ID + 2).strip()
    if not re.fullmatch(rf"[A-Za-z0-9_-]{{1,{_MAX_ID}}}", found):  # W&B derives folder names from it
        raise UserError(f"{file}: found {ascii(found)[:80]}, allowed: letters, digits, _ and -, {_MAX_ID} at most")
    return found


def _check_online() -> None:
    """Fails early where W&B would prompt or wait."""
    base = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    way_out = "allowed: logger.wandb.mode=offline (the run can be sent later with `wandb sync`), or logger=csv"
    if not _has_key(urlparse(base).hostname or ""):
        raise UserError(
            f"logger.wandb.mode: online needs an API key, found none for {base}: set WANDB_API_KEY or run "
            f"`wandb login`; {way_out}"
        )
    try:
        urllib.request.urlopen(base, timeout=4).close()
    except urllib.error.HTTPError:
        pass  # any response shows that the server is reachable
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"logger.wandb.mode: online cannot reach {base} ({reason}); {way_out}") from None


def _has_key(host: str) -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def finish_wandb(*, exit_code: int) -> None:
    """Finishes the W&B run: the next job of a sweep would otherwise log to it."""
    if "wandb" in sys.modules:
        import wandb

        wandb.finish(exit_code=exit_code)
