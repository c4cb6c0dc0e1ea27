"""Search loop that starts trials, prunes those that fall behind, and records their outcomes."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import optuna
from optuna.trial import TrialState

from sr_lightning.config.overrides import quote_path
from sr_lightning.errors import FailedError, InterruptedRun
from sr_lightning.files import write_atomically
from sr_lightning.runs.saved_config import config_file
from sr_lightning.runs.shares import share, visible_gpus
from sr_lightning.tuning.report import UNITS, figure, trials_csv
from sr_lightning.tuning.study import Study
from sr_lightning.tuning.trial_run import TrialRun, results, validations

log = logging.getLogger(__name__)

_LOOKS = 0.5  # seconds between polls of the trials
_BEATS = 10.0  # seconds between heartbeats
_HOPELESS = 3  # number of failures without any success after which the study ends


@dataclass
class _Running:
    """A running trial."""

    trial: optuna.Trial
    run: TrialRun
    slot: int
    reported: int = -1
    """Step of the last validation reported to the study."""
    is_pruned: bool = False


@dataclass
class Search:
    """Works on a study until all trials are done, the time limit is reached, or a signal arrives.

    Args:
        study: The study in which trials are recorded.
        arguments: Arguments of `train` shared by all trials.
        cost: Maps a trial's overrides to those further objectives that need no training.
    """

    study: Study
    arguments: list[str]
    cost: Callable[[list[str]], dict[str, float]]
    running: list[_Running] = field(default_factory=list)
    stopped_by: int | None = None
    failures: list[str] = field(default_factory=list)
    """Reasons for the failures of this call."""

    def go_on(self) -> None:
        """Runs trials.

        Raises:
            InterruptedRun: A signal arrived; the trials have saved their state, and the study can be resumed.
            FailedError: No trial succeeds.
        """
        config, began, beaten = self.study.config, time.monotonic(), 0.0
        gpus = [] if config.n_jobs == 1 or config.train.hardware.get("accelerator") == "cpu" else visible_gpus()
        left = self.study.interrupted()
        with self._signals():
            while True:
                for running in list(self.running):
                    self._look_at(running)
                if time.monotonic() - beaten > _BEATS:
                    beaten = time.monotonic()
                    for running in self.running:
                        self.study.beat(running.trial)
                is_over = config.timeout is not None and time.monotonic() - began > config.timeout
                while not self._is_ending(is_over) and self._has_room() and (left or self._wants_more()):
                    self._start(left.pop(0) if left else self.study.ask(), gpus)
                if not self.running:
                    break
                time.sleep(_LOOKS)
        if self.stopped_by is not None:
            raise InterruptedRun(self.stopped_by)
        if self._is_hopeless():
            raise FailedError(f"no trial succeeds; the first: {self.failures[0]}")

    def _is_ending(self, is_over: bool) -> bool:
        return self.stopped_by is not None or is_over or self._is_hopeless()

    def _is_hopeless(self) -> bool:
        if len(self.failures) < min(_HOPELESS, self.study.config.n_trials):
            return False
        return not any(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in self.study.begun())

    def _has_room(self) -> bool:
        return len(self.running) < self.study.config.n_jobs

    def _wants_more(self) -> bool:
        return len(self.study.begun()) < self.study.config.n_trials

    def _start(self, trial: optuna.Trial, gpus: list[str]) -> None:
        study = self.study
        slot = next(number for number in range(study.config.n_jobs) if number not in {r.slot for r in self.running})
        folder = study.trial_folder(trial.number)
        if (folder / "results.json").is_file():  # it had finished, but the study was killed before recording it
            self._complete(trial, self._overrides(trial))
            self._write()
            return
        tried = self._overrides(trial)
        if (twin := study.twin(trial)) is not None:
            trial.set_user_attr("same_as", twin.number)
            study.optuna.tell(trial, twin.values)
            log.info("trial %d has the values of trial %d, and its figures", trial.number, twin.number)
            self._write()
            return
        is_begun = config_file(folder).is_file()
        own = [quote_path(f"hydra.run.dir={folder}")]
        arguments = [quote_path(f"ckpt_path={folder}")] if is_begun else [*self.arguments, *tried, *own]
        verb = "continues" if is_begun else "begins"
        log.info("trial %d of %d %s: %s", trial.number, study.config.n_trials, verb, " ".join(tried))
        environment = share(slot, study.config.n_jobs, gpus=gpus, threads=os.environ.get("OMP_NUM_THREADS"))
        known = max(study.optuna.get_trials(deepcopy=False)[trial.number].intermediate_values, default=-1)
        self.running.append(_Running(trial, TrialRun(folder, arguments, environment), slot, known))
        study.beat(trial)

    def _look_at(self, running: _Running) -> None:
        """Reports new validations, prunes the trial if it falls behind, and records its end."""
        if self.study.is_taken_away(running.trial):
            running.run.process.kill()
            running.run.process.wait()
            self.running.remove(running)
            log.info("trial %d was silent too long, and is done again by another machine", running.trial.number)
            return
        if self.stopped_by is None and not running.is_pruned and len(self.study.config.objectives) == 1:
            for step, values in validations(running.run.folder):
                if step > running.reported:
                    running.reported = step
                    running.trial.report(values["gain"], step)
            is_behind = running.reported >= 0 and running.run.status is None and running.trial.should_prune()
            running.is_pruned = is_behind
        if (running.is_pruned or self.stopped_by is not None) and running.run.status is None:
            running.run.stop()
        if running.run.status is not None:
            self.running.remove(running)
            self._record(running)

    def _record(self, running: _Running) -> None:
        study, trial, run = self.study, running.trial, running.run
        tried = self._overrides(trial)
        if run.status == 0:
            self._complete(trial, tried)
        elif running.is_pruned:
            trial.set_user_attr("minutes", run.minutes)
            study.optuna.tell(trial, state=TrialState.PRUNED)
            log.info("trial %d pruned at step %d", trial.number, running.reported)
        elif self.stopped_by is not None:
            log.info("trial %d stopped; the same command continues it", trial.number)
            return
        else:
            self._fail(trial, run.failure())
        self._write()

    def _write(self) -> None:
        """Writes the table of all trials, which is kept up to date after each one."""
        write_atomically(self.study.folder / "trials.csv", trials_csv(self.study), is_shared=True)

    def _complete(self, trial: optuna.Trial, tried: list[str]) -> None:
        study = self.study
        found = results(study.trial_folder(trial.number)) or {}
        wanted = study.config.objectives
        if any(name not in found and name != "gain" for name in wanted):
            found = {**found, **self.cost(tried)}
        missing = [name for name in wanted if name not in found]
        if missing:
            self._fail(trial, f"gives no finite {', '.join(missing)}")
            return
        if "minutes" in found:
            trial.set_user_attr("minutes", found["minutes"])
        study.optuna.tell(trial, [found[name] for name in wanted])
        reached = ", ".join(f"{UNITS[name]} {figure(name, found[name])}" for name in wanted)
        log.info("trial %d done: %s", trial.number, reached)

    def _fail(self, trial: optuna.Trial, reason: str) -> None:
        self.failures.append(reason)
        trial.set_user_attr("error", reason)
        self.study.optuna.tell(trial, state=TrialState.FAIL)
        log.info(
            "trial %d failed: %s   (%s)", trial.number, reason, self.study.trial_folder(trial.number) / "output.log"
        )

    def _overrides(self, trial: optuna.Trial) -> list[str]:
        return self.study.config.as_overrides(self.study.values(trial.params))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Handles signals: the first one lets the trials save their state, a second Ctrl-C kills them."""

        def note(number: int, _: object) -> None:
            if self.stopped_by is not None and number == signal.SIGINT:
                for running in self.running:
                    running.run.process.kill()
            elif self.stopped_by is None:
                self.stopped_by = number
                log.info("stopping: the trials save their state (Ctrl-C again ends them at once)")

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for running in self.running:  # after an error in the search itself
                running.run.process.terminate()
            for number, handler in before.items():
                signal.signal(number, handler)
