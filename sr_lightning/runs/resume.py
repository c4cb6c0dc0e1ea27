"""Resuming of a run in its own folder (`ckpt_path=<run folder | checkpoint | last>`)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sr_lightning.checkpoints.integrity import (
    LARGEST_STEP,
    LAST,
    PREVIOUS,
    Resumable,
    Trailer,
    find_resumable,
    read_trailer,
    tidy,
)
from sr_lightning.config.schema import TrainConfig
from sr_lightning.errors import UserError
from sr_lightning.files import replacing
from sr_lightning.runs.allowed_changes import (
    OWN,
    ResumePolicy,
    apply_changes,
    differing_keys,
    following_keys,
)
from sr_lightning.runs.folder import refuse_outward_links
from sr_lightning.runs.saved_config import config_file, read_saved_config, with_current_names
from sr_lightning.text import natural_key


@dataclass(frozen=True)
class Resume:
    """A run to be resumed."""

    folder: Path
    checkpoint: Path | None
    """None if the run was interrupted before its first checkpoint, so that it starts over."""
    config: DictConfig
    """Config saved with the run, with the overrides typed now."""
    changes: list[str]
    """Differences from the saved config, for the log."""
    trailer: Trailer | None = None
    damaged: dict[Path, str] = field(default_factory=dict)
    """Damaged checkpoints that were skipped, with the reasons."""
    allowed: tuple[str, ...] = ()
    """Keys and sections that the user permits to differ."""
    differing: tuple[str, ...] = ()
    """Keys in which the run differs from the checkpoint's config."""

    def composed(self) -> DictConfig:
        """Returns the config to run with, without initial weights, which may be gone; the checkpoint has its own."""
        config = self.config.copy()
        if self.checkpoint is not None and OmegaConf.select(config, "model.weights") is not None:
            config.model.weights, config.model.fresh = None, []
        return config

    @property
    def step(self) -> int | None:
        """Step of the checkpoint; None if it has no trailer."""
        return self.trailer.step if self.trailer else None

    @property
    def policy(self) -> ResumePolicy:
        """Parts of the checkpoint's state that the config overrides."""
        return ResumePolicy.of(self.differing, self.allowed)

    def to_plain(self) -> dict[str, Any]:
        """Converts to plain data for `from_plain` in another process."""
        return {
            "folder": str(self.folder),
            "checkpoint": self.checkpoint and str(self.checkpoint),
            "config": OmegaConf.to_container(self.config, resolve=False),
            "changes": self.changes,
            "damaged": {str(path): reason for path, reason in self.damaged.items()},
            "step": self.step,
            "logged_rows": self.trailer and self.trailer.logged_rows,
            "allowed": self.allowed,
            "differing": self.differing,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Resume:
        """Reverses `to_plain`."""
        return cls(
            Path(plain["folder"]),
            plain["checkpoint"] and Path(plain["checkpoint"]),
            DictConfig(plain["config"]),
            plain["changes"],
            trailer=None if plain["step"] is None else Trailer(plain["step"], None, plain["logged_rows"]),
            damaged={Path(path): reason for path, reason in plain["damaged"].items()},
            allowed=tuple(plain["allowed"]),
            differing=tuple(plain["differing"]),
        )


def find_folder(overrides: list[str], *, is_sweep: bool) -> Path | None:
    """Returns the folder of the run to be resumed, or None; nothing in it is read.

    Args:
        overrides: Overrides as typed, with paths quoted.
        is_sweep: Whether `-m` was given; a sweep cannot resume a run.

    Raises:
        UserError: The run does not exist.
    """
    value, allowed = _typed(overrides, "ckpt_path"), _allowed(overrides)
    if value is None and allowed:
        raise UserError(f"allow_change: found {list(allowed)}, but no run is continued; allowed: with ckpt_path=…")
    if value is None:
        return None
    if is_sweep:
        raise UserError("ckpt_path: continues one run, found a sweep (-m); allowed: without -m")
    if "://" in str(value):
        raise UserError(f"ckpt_path: {value} is an address; allowed: a file or folder on this machine")
    runs = next((o.split("=", 1)[1].strip("'") for o in overrides if o.startswith("paths.runs=")), "runs")
    if value == "last":
        path = _last_run(Path(_literal(runs, "paths.runs"), "train"))
    else:
        path = Path(_literal(str(value), "ckpt_path"))
    if not path.exists():
        raise UserError(f"ckpt_path: {path} is not there; allowed: a run's folder, a checkpoint in it, last")
    folder = path if path.is_dir() else path.parent.parent
    if not config_file(folder).is_file():
        way = "" if path.is_dir() else f". To start a new run from weights: model.weights={path}"
        raise UserError(
            f"ckpt_path: {path} does not lie in a run's folder (no {config_file(folder)}); allowed: a run's folder "
            f"or a checkpoint in it{way}"
        )
    return folder


def find_resume(folder: Path, overrides: list[str]) -> Resume:
    """Returns the run to be resumed in a folder.

    Args:
        folder: Folder returned by `find_folder`.
        overrides: Overrides as typed, with paths quoted.

    Raises:
        UserError: All of its checkpoints are damaged, or a key typed now may not change.
    """
    refuse_outward_links(folder, "ckpt_path")
    typed = [o for o in overrides if not o.lstrip("+~").startswith((*(f"{key}=" for key in OWN), "hydra."))]
    config = read_saved_config(config_file(folder), typed)
    file = Path(_literal(str(_typed(overrides, "ckpt_path")), "ckpt_path"))
    allowed = _allowed(overrides)
    found = (
        _resumable_file(file)
        if file.is_file()
        else refuse_all_damaged(folder, find_resumable(folder / "checkpoints"), "ckpt_path")
    )
    changes = apply_changes(config, typed, allowed)
    return Resume(folder, found.newest, config, changes, found.trailer, found.damaged, allowed)


def accept_differences(resume: Resume, config: TrainConfig) -> tuple[str, ...]:
    """Returns the keys in which a run differs from its checkpoint, if all of them may.

    The files beside the checkpoint may have been edited, environment variables may have changed, and an earlier change
    may not have reached a checkpoint: what counts is the config stored in the checkpoint.

    Args:
        resume: The run to be resumed.
        config: The checked config.

    Raises:
        UserError: A key differs that may not; the message lists all such keys.
    """
    if resume.trailer is None or resume.trailer.config is None:
        return ()
    before = with_current_names(resume.trailer.config)
    # Kept out of the keys that the user permits, which would let the images differ: their location may change, their
    # content may not.
    following = following_keys(resume.config, [*resume.allowed, "paths"])
    return differing_keys(before, json.loads(json.dumps(asdict(config))), [*resume.allowed, *following])


def prepare(folder: Path, resume: Resume | None) -> list[str]:
    """Prepares a run's folder for writing; the caller holds its lock.

    For a run to be resumed this is the point of no return: everything that may refuse it has been checked.

    Args:
        folder: The run's folder.
        resume: The run to be resumed there; None for a new one.

    Returns:
        Messages for the user.
    """
    if resume is None:
        return tidy(folder)
    chosen = resume.checkpoint.name if resume.checkpoint else "the beginning"
    messages = [
        f"{path} is damaged: {reason}. Continuing from {chosen}, step {resume.step}, in its place"
        for path, reason in resume.damaged.items()
    ]
    messages += tidy(folder, damaged=list(resume.damaged), after=resume.step)
    if resume.changes:  # the next resume starts from them
        path = config_file(folder)
        with replacing(path) as part:
            OmegaConf.save(resume.config, part)
    return messages


def set_results_aside(folder: Path, *, step: int, max_steps: int) -> None:
    """Renames `results.json`, whose presence marks a run as finished, unless it holds the results of `max_steps`.

    Args:
        folder: The run's folder.
        step: The step from which the run goes on.
        max_steps: The step at which it will end.
    """
    path = folder / "results.json"
    try:
        tested = json.loads(path.read_text(encoding="utf-8"))["steps"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        tested = None
    reached = tested if type(tested) is int and 0 <= tested <= LARGEST_STEP else step
    if step < max_steps or reached != max_steps:
        path.replace(path.with_name(f"results_step{reached}.json"))


# -- which checkpoint ----------------------------------------------------------------------------------


def _last_run(runs: Path) -> Path:
    """Returns the last unfinished run by folder name; modification times depend on the clock, which may be set back."""
    begun = {path.parent.parent for name in (LAST, PREVIOUS) for path in runs.glob(f"*/checkpoints/{name}")}
    unfinished = [folder for folder in begun if not (folder / "results.json").exists()]
    if not unfinished:
        raise UserError(f"ckpt_path=last: no unfinished run with a checkpoint in {runs}; allowed: a run's folder")
    return max(unfinished, key=lambda folder: natural_key(folder.name))


def _resumable_file(path: Path) -> Resumable:
    try:
        return Resumable(path, read_trailer(path), {})
    except UserError as error:
        way = f"allowed: ckpt_path={path.parent.parent}, which takes the newest intact one"
        raise UserError(f"ckpt_path: {error}; {way}") from None


def refuse_all_damaged(folder: Path, found: Resumable, key: str) -> Resumable:
    """Returns `found`, unless there are checkpoints in `<folder>/checkpoints` but none of them is intact.

    Raises:
        UserError: All checkpoints are damaged; `key` is the setting that names the run.
    """
    if found.newest is None and found.damaged:
        reasons = "; ".join(f"{path.name} is damaged: {reason}" for path, reason in found.damaged.items())
        raise UserError(
            f"{key}: no intact checkpoint in {folder / 'checkpoints'} ({reasons}); allowed: a copy of one, or, to "
            "begin again, a new run (with model.weights=… of its best.ckpt, where that is intact)"
        )
    return found


# -- what was typed -----------------------------------------------------------------------------------


def _typed(overrides: list[str], key: str) -> Any:
    parsed = OverridesParser.create().parse_overrides([o for o in overrides if o.lstrip("+").startswith(f"{key}=")])
    return parsed[-1].value() if parsed else None


def _literal(value: str, key: str) -> str:
    """Resolves environment variables in a typed path; other keys are unknown before the run's config is read."""
    try:
        return str(OmegaConf.create({"value": value})["value"])
    except OmegaConfBaseException:
        raise UserError(f"{key}: {value} refers to other keys; allowed: the folder, or ${{oc.env:NAME}}") from None


def _allowed(overrides: list[str]) -> tuple[str, ...]:
    value = _typed(overrides, "allow_change")
    keys = value if isinstance(value, list) else [] if value is None else [value]
    if wrong := [key for key in keys if not isinstance(key, str)]:
        raise UserError(f"allow_change: found {wrong[0]!r}, allowed: a list of keys or sections")
    return tuple(keys)
