"""Weights & Biases logger: one W&B run for each run folder, offline unless asked otherwise."""

from __future__ import annotations

import netrc
import os
import re
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse

from lightning.pytorch.loggers import Logger, WandbLogger

from sr_lightning.distributed.environment import ranks
from sr_lightning.errors import UserError
from sr_lightning.evaluation.scores import ImageScore, MethodId, bicubic_scores, gain
from sr_lightning.files import inside

_MAX_ID = 64


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
) -> WandbLogger:
    """A run in Weights & Biases; continuing the run's folder continues the same W&B run.

    Args:
        folder: The run's folder.
        mode: `offline` writes below the folder and uses no network; `online` needs a key and a network;
            `disabled` writes nothing.
        project: W&B project.
        entity: W&B user or team.
        name: Shown name; None for the folder's.
        group: Name that a sweep's jobs, or a study's trials, share.
        job_type: What the run is in its group; None for nothing.
        tags: W&B tags.
        notes: W&B notes.

    Raises:
        UserError: `online` was asked for without a key or a network.
    """
    if mode == "online":
        _check_online()
    base = Path(folder).absolute() / "wandb"
    base.mkdir(parents=True, exist_ok=True)
    # W&B would otherwise leave these folders in the user's home.
    for variable in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR"):
        os.environ[variable] = str(base / "local")
    import wandb

    logger = WandbLogger(
        save_dir=folder,
        project=project,
        entity=entity,
        name=name or Path(folder).name,
        group=group,
        job_type=job_type,
        tags=tags,
        notes=notes,
        id=_run_id(base / "run_id"),
        resume="allow",
        mode=mode,
        settings=wandb.Settings(silent=True, console="off", init_timeout=15),
    )
    # Lightning passes it on even where it is unset, and W&B warns about it in every run.
    logger._wandb_init.pop("anonymous", None)
    return logger


def _run_id(file: Path) -> str:
    if ranks().rank != 0:
        return "unused"  # only the first process logs
    file = inside(file.parent, file.name)
    if not file.exists():
        file.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
    with file.open(encoding="utf-8", errors="replace") as opened:
        found = opened.read(_MAX_ID + 2).strip()
    if not re.fullmatch(rf"[A-Za-z0-9_-]{{1,{_MAX_ID}}}", found):  # W&B makes the names of its folders from it
        raise UserError(f"{file}: found {ascii(found)[:80]}, allowed: letters, digits, _ and -, {_MAX_ID} at most")
    return found


def _check_online() -> None:
    """Refuses at once where W&B would prompt or wait."""
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
        pass  # any answer shows that the server is there
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


def replay(loggers: Sequence[Logger], rows: Sequence[Mapping[str, str]]) -> None:
    """Logs the rows of the pieces before into an offline W&B run, so that its newest file shows the whole run.

    W&B writes a file for each piece. One that continues a run online needs no repetition: the server has the rows.

    Args:
        loggers: Those of the run.
        rows: Of `metrics.csv`, as `MetricsCsv.rows` gives them.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger) and logger._wandb_init.get("mode") == "offline":
            for row in rows:
                values = {name: float(text) for name, text in row.items() if name != "step" and text}
                logger.log_metrics(values, step=int(row["step"]))


def log_table(loggers: Sequence[Logger], scores: Sequence[ImageScore], method: MethodId) -> None:
    """Sends a method's figures of each image to W&B, with bicubic's beside them."""
    bicubic = bicubic_scores(scores)
    columns = ["method", "set", "scale", "name", "psnr_y", "ssim_y", "bicubic_psnr_y", "bicubic_ssim_y", "gain"]
    data = []
    for score in (s for s in scores if s.method == method):
        base = bicubic[score.image]
        figures = [score.psnr_y, score.ssim_y, base.psnr_y, base.ssim_y, gain(score.psnr_y, base.psnr_y)]
        data.append([method.label, score.set, score.scale, score.name, *figures])
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_table("results", columns=columns, data=data)


def finish_wandb(*, exit_code: int) -> None:
    """Ends the W&B run: the next job of a sweep would otherwise write into it."""
    if "wandb" in sys.modules:
        import wandb

        wandb.finish(exit_code=exit_code)
