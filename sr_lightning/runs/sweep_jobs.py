"""Jobs left by an earlier call of the same sweep: finished, or to be resumed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]  # it ships no types

from sr_lightning.checkpoints.integrity import find_resumable
from sr_lightning.errors import UserError
from sr_lightning.runs.allowed_changes import OWN, deciding_differences
from sr_lightning.runs.folder import refuse_outward_links
from sr_lightning.runs.record import as_number
from sr_lightning.runs.resume import Resume, refuse_all_damaged
from sr_lightning.runs.saved_config import config_file, load_plain_yaml, with_current_names


@dataclass(frozen=True)
class Finished:
    """A sweep's job that an earlier call has finished."""

    objective: float | None


def find_jobs(folder: Path, jobs: Sequence[tuple[str, DictConfig]]) -> dict[str, Resume | Finished]:
    """Maps job numbers -> what an earlier call of the same sweep left: a run to resume, or a result.

    Args:
        folder: The sweep's folder, which may be new.
        jobs: Sub-folder and config of each job, in order.

    Raises:
        UserError: A job in the folder had another config, or all of its checkpoints are damaged.
    """
    found: dict[str, Resume | Finished] = {}
    for number, (subfolder, config) in enumerate(jobs):
        job = folder / subfolder
        if not config_file(job).is_file():
            continue
        refuse_outward_links(job, "hydra.sweep.dir")
        saved = _job_config(job)
        if saved is not None and deciding_differences(with_current_names(_without_own(saved)), _without_own(config)):
            raise UserError(
                f"hydra.sweep.dir: {job} was run with another config; allowed: the sweep's own command, or a new folder"
            )
        results = None if saved is None else _job_results(job)
        if results and not results.get("refused"):
            found[str(number)] = Finished(as_number(results.get("objective")))
            continue
        kept = refuse_all_damaged(job, find_resumable(job / "checkpoints"), "hydra.sweep.dir")
        found[str(number)] = Resume(job, kept.newest, config, [], kept.trailer, kept.damaged)
        if saved is None or results is None:
            torn = job / "results.json" if saved else config_file(job)
            way = f"continues from {kept.newest.name}" if kept.newest else "begins again"
            print(f"{torn} is incomplete, as an interrupted run leaves it; the job {way}", flush=True)
    return found


def _job_config(job: Path) -> DictConfig | None:
    """Returns a job's saved config; None if it is torn, or Hydra had not yet written its last file."""
    if not (job / ".hydra" / "overrides.yaml").is_file():
        return None
    try:
        found = load_plain_yaml(config_file(job))
    except (YAMLError, ValueError, OmegaConfBaseException):
        return None
    return found if isinstance(found, DictConfig) and found else None


def _job_results(job: Path) -> dict[str, Any] | None:
    """Returns a job's `results.json`; empty if there is none, None if it is torn."""
    try:
        found = json.loads((job / "results.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _without_own(config: Any) -> dict[Any, Any]:
    plain = OmegaConf.to_container(config)
    assert isinstance(plain, dict)
    return {key: value for key, value in plain.items() if key not in OWN}
