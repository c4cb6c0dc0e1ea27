"""The study: storage of its trials, search space, sampler and pruner."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha1
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from sr_lightning.config.containers import flattened
from sr_lightning.config.overrides import Value
from sr_lightning.config.search_space import Choice, Range, space_as_plain
from sr_lightning.config.tune import STORAGE, TuneConfig
from sr_lightning.errors import UserError
from sr_lightning.runs.allowed_changes import unequal_keys
from sr_lightning.text import short_keys

_HEARTBEAT = 15  # seconds
_PATIENCE = 120  # seconds without a heartbeat after which another machine's trial is retried
_RETRIES = 3
# Keys that do not affect the meaning of the figures.
_FREE: tuple[str, ...] = ("paths.", "logger.", "callbacks.progress.", "callbacks.pictures.", "callbacks.throughput.")
_FREE += ("data.num_workers", "data.train_dir", "data.train_lr_dir", "data.cache_dir", "trainer.devices")
_MAXIMISED, _MINIMISED = optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE


class Study:
    """An Optuna study together with its config, folder and search space.

    Args:
        config: The checked config.
        name: Name of the study; see `study_name`.
        folder: Folder of the study; holds its trials' folders and, without a database server, their records.

    Raises:
        UserError: The database cannot be used, or holds a study of that name with another search.
    """

    def __init__(self, config: TuneConfig, name: str, folder: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.config, self.name, self.folder = config, name, folder
        self.is_shared = config.storage is not None
        url = config.storage or f"sqlite:///{folder.absolute()}/study.db"
        with _database_errors(url), _quiet():
            self.storage = RDBStorage(
                url,
                # Seconds to wait for a file that another process is writing to.
                engine_kwargs={"connect_args": {"timeout": 60}}
                if url.startswith("sqlite")
                else {"pool_pre_ping": True},
                heartbeat_interval=_HEARTBEAT,
                grace_period=_PATIENCE,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=_RETRIES),
            )
            directions = [_MAXIMISED if name == "gain" else _MINIMISED for name in config.objectives]
            self.optuna = optuna.create_study(
                storage=self.storage, study_name=name, directions=directions, load_if_exists=True
            )
            self._check_same()
            n_known = len(self.trials())
            self.optuna.sampler = _sampler(config, n_known)
            self.optuna.pruner = _pruner(config)
        self.distributions = {key: _distribution(entry) for key, entry in config.space.items()}

    def trials(self) -> list[FrozenTrial]:
        """Returns all trials in order."""
        return self.optuna.get_trials(deepcopy=False)

    def begun(self) -> list[FrozenTrial]:
        """Returns the trials that count: not waiting for a retry, and not retried by another trial."""
        trials = self.trials()
        again = {number for trial in trials for number in trial.system_attrs.get("retry_history", ())}
        return [trial for trial in trials if trial.state != TrialState.WAITING and trial.number not in again]

    def ask(self) -> optuna.Trial:
        """Returns the next trial: a retry of one whose machine has died, or one with new values."""
        with _quiet():
            if self.is_shared:
                optuna.storages.fail_stale_trials(self.optuna)
            return self.optuna.ask(self.distributions)

    def interrupted(self) -> list[optuna.Trial]:
        """Returns trials that an earlier call left unfinished; none if another process may be running them."""
        if self.is_shared:
            return []
        with _quiet():
            running = self.optuna.get_trials(states=(TrialState.RUNNING,))
            return [optuna.Trial(self.optuna, trial._trial_id) for trial in running]

    def beat(self, trial: optuna.Trial) -> None:
        """Records a heartbeat, so that other machines know that the trial is alive."""
        self.storage.record_heartbeat(trial._trial_id)

    def twin(self, trial: optuna.Trial) -> FrozenTrial | None:
        """Returns a finished trial with the same values: with the same seed the result would be identical."""
        tried = self.values(trial.params)
        done = (other for other in self.trials() if other.state == TrialState.COMPLETE)
        return next((other for other in done if self.values(other.params) == tried), None)

    def is_taken_away(self, trial: optuna.Trial) -> bool:
        """Returns whether another machine has declared this trial stale, and thus failed."""
        return self.is_shared and self.storage.get_trial(trial._trial_id).state.is_finished()

    def values(self, params: Mapping[str, Any]) -> dict[str, Value]:
        """Converts a trial's parameters to the values that are tried, by key."""
        space = self.config.space
        return {
            key: entry.rounded(params[key]) if isinstance(entry := space[key], Range) else params[key]
            for key in space
            if key in params
        }

    def trial_folder(self, number: int) -> Path:
        """Returns the folder of a trial's run."""
        return self.folder / str(number)

    def _check_same(self) -> None:
        """Checks that the study was begun with the same search, or records the search if it is new."""
        now = {
            "search": space_as_plain(self.config.space),
            "objectives": self.config.objectives,
            "config": fixed_config(self.config),
        }
        now = json.loads(json.dumps(now))
        before = self.optuna.user_attrs.get("sr_lightning")
        if before is None and not self.trials():
            if left := sorted(path.name for path in self.folder.glob("[0-9]*"))[:1]:  # results of another study
                raise UserError(
                    f"study: {self.folder / left[0]} is a trial of a study whose records are gone; "
                    "allowed: another name, or the folder moved away"
                )
            self.optuna.set_user_attr("sr_lightning", now)
            return
        if not isinstance(before, dict):
            raise UserError(f"study: {self.name} in the storage was not begun by tune; allowed: another name")
        keys = unequal_keys(before, now)
        lines = [
            f"{key.removeprefix('config.')}: differs from what the study {self.name} was begun with" for key in keys
        ]
        if lines:
            raise UserError("\n".join([*lines, "study: allowed: another name for another search, or none"]))


def study_name(config: TuneConfig) -> str:
    """Returns the name given by the user, or one derived deterministically from the search."""
    if config.study is not None:
        return config.study
    content = [space_as_plain(config.space), config.objectives, fixed_config(config)]
    mark = sha1(json.dumps(content, sort_keys=True).encode(), usedforsecurity=False).hexdigest()[:6]
    keys = "_".join(key.rpartition(".")[2] for key in short_keys(list(config.space)))
    return f"{keys[:40]}_{mark}"


def fixed_config(config: TuneConfig) -> dict[str, Any]:
    """Part of the shared config that affects the figures: dotted key -> JSON value."""
    plain = json.loads(json.dumps(asdict(config.train), default=str))
    left_out = {*config.space, "ckpt_path", "allow_change"}
    return {k: value for k, value in flattened(plain).items() if not k.startswith(_FREE) and k not in left_out}


def shown_storage(config: TuneConfig) -> str | None:
    """Returns the database URL without its password; None for the file in the study's folder."""
    if config.storage is None:
        return None
    with _database_errors(config.storage):
        return make_url(config.storage).render_as_string(hide_password=True)


def _sampler(config: TuneConfig, n_known: int) -> optuna.samplers.BaseSampler:
    """Creates the TPE sampler; without the trial count in its seed, a resumed study would repeat its first draws."""
    beside = config.n_jobs > 1 or config.storage is not None
    mixed = os.getpid() if config.storage is not None else 0  # machines that start together draw different points
    return optuna.samplers.TPESampler(seed=config.train.seed + n_known + mixed, constant_liar=beside)


def _pruner(config: TuneConfig) -> optuna.pruners.BasePruner:
    if config.pruner is None or len(config.objectives) > 1:
        return optuna.pruners.NopPruner()
    if config.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4)
    steps = int(config.train.trainer["max_steps"])
    every = config.train.trainer.get("val_check_interval")
    first = every if type(every) is int else max(steps // 9, 1)
    return optuna.pruners.HyperbandPruner(min_resource=min(first, steps), max_resource=steps, reduction_factor=3)


def _distribution(entry: Range | Choice) -> BaseDistribution:
    if isinstance(entry, Choice):
        return CategoricalDistribution(entry.values)
    if entry.is_whole:
        return IntDistribution(int(entry.low), int(entry.high), log=entry.is_log)
    return FloatDistribution(entry.low, entry.high, log=entry.is_log)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses Optuna's warnings that heartbeats are experimental and have to be recorded by the caller of `ask`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Heartbeat of storage", category=UserWarning)
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


@contextmanager
def _database_errors(url: str) -> Iterator[None]:
    """Reports a database that cannot be used, without the password in its URL."""
    key = "storage" if os.environ.get(STORAGE) != url else f"storage (${STORAGE})"
    try:
        yield
    except ImportError as error:
        raise UserError(f"{key}: its driver is not installed: {error.__cause__ or error}") from None
    except (ArgumentError, ValueError):  # its message may contain part of the password
        raise UserError(f"{key}: is no URL of a database; allowed: postgresql://host/name, mysql+pymysql://…") from None
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        said = str(error.__cause__ or error).splitlines()[0]
        password = make_url(url).password
        said = said.replace(str(password), "***") if password else said
        raise UserError(f"{key}: the database cannot be used: {said}") from None
