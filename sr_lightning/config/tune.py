"""Schema and check of `conf/tune.yaml`."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from sr_lightning.config.compose import compose_jobs
from sr_lightning.config.conf_files import resolved
from sr_lightning.config.findings import refuse
from sr_lightning.config.overrides import Value
from sr_lightning.config.schema import TrainConfig
from sr_lightning.config.search_space import Space, as_override, parse_space
from sr_lightning.config.train import check_train
from sr_lightning.errors import UserError
from sr_lightning.text import nearest

OBJECTIVES = ("gain", "perceptual", "multiply_adds", "parameters")
PRUNERS = ("median", "hyperband")
STORAGE = "SR_TUNE_STORAGE"
"""Environment variable with the URL of a database; unlike a config, it may contain a password."""
_OWN = ("study", "search", "objectives", "n_trials", "n_jobs", "timeout", "pruner", "storage")

_TRIALS_OWN = ("paths.runs", "ckpt_path", "allow_change")


@dataclass
class TuneConfig:
    """Config that all trials share, and settings of the study."""

    train: TrainConfig
    space: Space
    study: str | None
    objectives: list[str]
    n_trials: int
    n_jobs: int
    timeout: float | None
    """Time limit in seconds."""
    pruner: str | None
    storage: str | None
    """URL of a database; None for a file in the study's folder."""
    new_keys: frozenset[str]
    """Searched keys that are not in the config; the class of their section may accept them."""

    def as_overrides(self, values: dict[str, Value]) -> list[str]:
        """Returns the overrides of a trial with these values by key."""
        return [as_override(key, value, is_new=key in self.new_keys) for key, value in values.items()]


def check_tune(config: DictConfig) -> TuneConfig:
    """Checks a composed `tune` config; the searched values are checked by `check_search`.

    Args:
        config: The config as composed by Hydra, without its `hydra` section.

    Returns:
        The resolved config.

    Raises:
        UserError: Something is wrong; the message lists the findings, one per line.
    """
    config = config.copy()
    with open_dict(config):
        own = resolved(OmegaConf.create({key: config.pop(key) for key in _OWN if key in config}))
    findings: list[str] = []
    space = parse_space(own.get("search"), findings)
    findings += [
        f"search.{key}: is each trial's own; allowed: keys that change what is trained"
        for key in space
        if key.startswith("hydra.") or key in _TRIALS_OWN
    ]
    objectives = own["objectives"] if isinstance(own["objectives"], list) else [own["objectives"]]
    wrong = [name for name in objectives if name not in OBJECTIVES]
    if wrong:
        findings.append(f"objectives: found {wrong[0]!r}, {nearest(str(wrong[0]), OBJECTIVES)}")
    elif "gain" not in objectives or len(set(objectives)) != len(objectives) or len(objectives) > 2:
        findings.append(
            f"objectives: found {objectives}, allowed: gain, or gain and one of {', '.join(OBJECTIVES[1:])}"
        )
    _check_numbers(own, findings)
    _check_names(own, findings)
    if config.get("ckpt_path") is not None:
        findings.append("ckpt_path: continues one run; allowed: model.weights=…, from which every trial begins")
    train = _checked_train(config, findings)
    refuse(findings)
    assert train is not None
    absent = frozenset(key for key in space if not _is_there(config, key))
    chosen = {key: own[key] for key in ("study", "n_trials", "n_jobs", "timeout", "pruner")}
    storage = own["storage"] or os.environ.get(STORAGE) or None
    return TuneConfig(train, space, objectives=objectives, storage=storage, new_keys=absent, **chosen)


def check_search(config: TuneConfig, fixed: list[str], *, config_dir: str | None) -> None:
    """Composes and checks the training for the lowest value, the highest value and every choice.

    Args:
        config: The checked config.
        fixed: The overrides of every trial.
        config_dir: The user's own folder of configs.

    Raises:
        UserError: A searched value cannot be used for training; the message names the key.
    """
    extremes = {key: entry.extremes() for key, entry in config.space.items()}
    findings: dict[str, str] = {}
    for place in range(max(map(len, extremes.values()))):
        values = {key: found[min(place, len(found) - 1)] for key, found in extremes.items()}
        tried = config.as_overrides(values)
        try:
            (job,) = compose_jobs("train", [*fixed, *tried], config_dir=config_dir, config_name=None, is_sweep=False)
            check_train(job.config)
        except UserError as error:
            for line in str(error).splitlines():
                findings.setdefault(line, " ".join(tried))
    refuse([f"{line}   [search: {tried}]" for line, tried in findings.items()])


def fixed_overrides(overrides: list[str]) -> list[str]:
    """Returns the overrides that every trial gets: all except the study's own.

    Args:
        overrides: Overrides as typed, with paths quoted.

    Raises:
        UserError: One of them sets a key of Hydra.
    """
    keys = [re.split(r"[.=@]", override.lstrip("+~"), maxsplit=1)[0] for override in overrides]
    if wrong := [o for o, key in zip(overrides, keys, strict=True) if key.startswith("hydra")]:
        raise UserError(f"{wrong[0].partition('=')[0]}: trials have their folders; allowed: study=<name>, paths.runs=…")
    return [override for override, key in zip(overrides, keys, strict=True) if key not in _OWN]


def _checked_train(config: DictConfig, findings: list[str]) -> TrainConfig | None:
    try:
        return check_train(config)
    except UserError as error:
        findings += str(error).splitlines()
        return None


def _check_numbers(own: dict[str, Any], findings: list[str]) -> None:
    for key in ("n_trials", "n_jobs"):
        if type(own[key]) is not int or own[key] < 1:
            findings.append(f"{key}: found {own[key]!r}, allowed: 1 and more")
    timeout = own["timeout"]
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool) and math.isfinite(timeout)
    if timeout is not None and not (is_number and timeout > 0):
        findings.append(f"timeout: found {timeout!r}, allowed: seconds, or null")


def _check_names(own: dict[str, Any], findings: list[str]) -> None:
    study, pruner, storage = own["study"], own["pruner"], own["storage"]
    if study is not None and not (isinstance(study, str) and re.fullmatch(r"\w[\w.+-]{0,99}", study)):
        findings.append(f"study: found {study!r}, allowed: a name of letters, digits and . _ + -")
    if pruner is not None and pruner not in PRUNERS:
        findings.append(f"pruner: found {pruner!r}, {nearest(str(pruner), (*PRUNERS, 'null'))}")
    if storage is not None and not (isinstance(storage, str) and "://" in storage):
        findings.append("storage: allowed: a database's URL such as postgresql://host/name, or null")
    elif storage is not None and re.search(r"://[^@]*:[^@]*@", storage):  # a password may contain any characters
        findings.append(f"storage: holds a password; allowed: without one, or the whole URL in ${STORAGE}")


def _is_there(config: DictConfig, key: str) -> bool:
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return isinstance(node, DictConfig) and leaf in node
