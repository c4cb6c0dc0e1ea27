"""Continuing a run in its own folder (`ckpt_path=<run folder | checkpoint | last>`), or a sweep in its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sr_lightning.errors import UserError
from sr_lightning.trust import read_saved_config

# What may differ when a run continues: how long, how it is watched, where things lie. Everything else decides
# what the numbers mean, and an optimizer restored from a checkpoint would silently keep its old settings.
CHANGEABLE = ("trainer.", "callbacks.", "logger.", "paths.", "data.val", "data.test", "data.num_workers")


@dataclass(frozen=True)
class Resume:
    """A run to continue."""

    folder: Path
    checkpoint: Path
    config: DictConfig
    """The config saved with the run, with the overrides typed now."""
    changes: list[str]
    """What differs from the saved config, for the log."""


@dataclass(frozen=True)
class Finished:
    """A job of a sweep that an earlier call has finished."""

    objective: float | None


def find_resume(overrides: list[str], *, is_sweep: bool) -> Resume | None:
    """The run that the command line asks to continue, or None.

    Args:
        overrides: As typed, paths quoted.
        is_sweep: A sweep cannot continue a run.

    Raises:
        UserError: The run or its checkpoint is not there, or something typed now may not change.
    """
    parsed = OverridesParser.create().parse_overrides([o for o in overrides if o.lstrip("+").startswith("ckpt_path=")])
    value = parsed[-1].value() if parsed else None
    if value is None:
        return None
    if is_sweep:
        raise UserError("ckpt_path: continues one run, found a sweep (-m); allowed: without -m")
    runs = next((o.split("=", 1)[1].strip("'") for o in overrides if o.startswith("paths.runs=")), "runs")
    checkpoint = _checkpoint(str(value), Path(runs, "train"))
    folder = checkpoint.parent.parent
    saved = folder / ".hydra" / "config.yaml"
    if not saved.is_file():
        raise UserError(
            f"ckpt_path: {checkpoint} does not lie in a run's folder (no {saved}); allowed: a run's folder or a "
            f"checkpoint in it. To start a new run from weights: model.weights={checkpoint}"
        )
    typed = [o for o in overrides if not o.lstrip("+~").startswith(("ckpt_path=", "hydra."))]
    config = read_saved_config(saved, typed)
    return Resume(folder, checkpoint, config, _apply(config, typed))


def find_jobs(folder: Path, configs: Sequence[DictConfig]) -> dict[str, Resume | Finished]:
    """What an earlier call of the same sweep has left: job number -> a run to continue, or its result.

    Args:
        folder: The sweep's folder; may be new.
        configs: The jobs' configs in their order.

    Raises:
        UserError: A job in the folder had another config.
    """
    found: dict[str, Resume | Finished] = {}
    for number, config in enumerate(configs):
        job = folder / str(number)
        saved = job / ".hydra" / "config.yaml"
        if not saved.is_file():
            continue
        if OmegaConf.to_container(OmegaConf.load(saved)) != OmegaConf.to_container(config):
            raise UserError(
                f"hydra.sweep.dir: {job} was run with another config; allowed: the sweep's own command, or a new folder"
            )
        if (job / "results.json").is_file():
            results = json.loads((job / "results.json").read_text(encoding="utf-8"))
            found[str(number)] = Finished(results.get("objective"))
        elif (checkpoint := job / "checkpoints" / "last.ckpt").is_file():
            found[str(number)] = Resume(job, checkpoint, config, [])
    return found


def _checkpoint(value: str, runs: Path) -> Path:
    if value == "last":
        unfinished = [
            p for p in runs.glob("*/checkpoints/last.ckpt") if not (p.parent.parent / "results.json").exists()
        ]
        if not unfinished:
            raise UserError(f"ckpt_path=last: no unfinished run with a checkpoint in {runs}; allowed: a run's folder")
        return max(unfinished, key=lambda p: p.parent.parent.name)
    path = Path(value)
    if "://" in value:
        raise UserError(f"ckpt_path: {value} is an address; allowed: a file or folder on this machine")
    if path.is_dir():
        path = path / "checkpoints" / "last.ckpt"
    if not path.is_file():
        raise UserError(f"ckpt_path: {path} is not there; allowed: a run's folder, a checkpoint in it, last")
    return path


def _apply(config: DictConfig, typed: list[str]) -> list[str]:
    """Applies overrides to the saved config in place; returns what changed."""
    changes: list[str] = []
    findings: list[str] = []
    OmegaConf.set_struct(config, True)
    for override in OverridesParser.create().parse_overrides(typed):
        key = override.key_or_group
        try:
            old = OmegaConf.select(config, key)
        except OmegaConfBaseException:
            old = None
        if isinstance(override.value(), str) and OmegaConf.is_config(old):
            findings.append(
                f"{key}: a whole section cannot be swapped when a run continues; allowed: single keys of it"
            )
        elif override.is_delete():
            findings.append(f"{override.input_line}: nothing can be deleted when a run continues")
        elif _plain(old) == _plain(override.value()):
            continue
        elif not key.startswith(CHANGEABLE):
            findings.append(
                f"{key}: the run was started with {old!r}, found {override.value()!r}; allowed to change: "
                + ", ".join(f"{prefix.rstrip('.')}" for prefix in CHANGEABLE)
                + ". Anything else is a new run (model.weights=<checkpoint> starts it from these weights)"
            )
        else:
            findings += _update(config, override)
            changes.append(f"{key}: {_plain(old)} -> {_plain(override.value())}")
    if findings:
        raise UserError("\n".join(findings))
    return changes


def _update(config: DictConfig, override: Override) -> list[str]:
    try:
        OmegaConf.update(config, override.key_or_group, override.value(), force_add=override.is_add())
    except OmegaConfBaseException as error:
        return [f"{override.key_or_group}: {str(error).splitlines()[0]}"]
    return []


def _plain(value: object) -> object:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
