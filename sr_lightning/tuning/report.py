"""Results of a study: table of trials, importance of keys, Pareto front, command line of the best trial."""

from __future__ import annotations

import csv
import io
import shlex
import warnings
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from sr_lightning.text import Table, counted, short_keys, shown, single_line, spreadsheet_cell
from sr_lightning.tuning.study import Study

_WORDS = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
_ENOUGH = 4  # number of finished trials from which importance is reported
UNITS = {"gain": "gain dB", "perceptual": "perceptual", "multiply_adds": "multiply-adds", "parameters": "parameters"}


def print_study(study: Study, fixed: Sequence[str]) -> None:
    """Prints the table of trials and the conclusions.

    Args:
        study: The study.
        fixed: Arguments shared by all trials.
    """
    trials, objectives = ranked(study), study.config.objectives
    best = best_trials(study)
    states = [trial.state for trial in trials]
    counts = [f"{states.count(state)} {word}" for state, word in _words(study).items() if state in states]
    head = (
        "the largest gain first"
        if len(objectives) == 1
        else f"gain against {UNITS[objectives[1]]}; front: no other is better in both"
    )
    print(f"\nstudy {study.name}: {', '.join(counts) or 'no trials'}; {head}")
    if trials:
        study_table(study, trials, best).show()
    for trial in trials:
        if reason := trial.user_attrs.get("error"):
            log = shown(study.trial_folder(trial.number) / "output.log")
            print(single_line(f"trial {trial.number} failed: {reason}   ({log})"))
    for line in importance_lines(study):
        print(line)
    print(f"\nstudy folder  {single_line(shown(study.folder))}   (trials.csv{'' if study.is_shared else ', study.db'})")
    if len([state for state in states if state == TrialState.COMPLETE]) > 1:
        print(f"compare       python -m sr_lightning.compare runs={single_line(shown(study.folder))}")
    for trial in best:
        name = "the best" if len(best) == 1 else f"trial {trial.number}"
        print(f"{name}:\n  {command(study, trial, fixed)}")


def _words(study: Study) -> dict[TrialState, str]:
    """At the end of a call no trial of this study is running any more, except on other machines."""
    return _WORDS if study.is_shared else {**_WORDS, TrialState.RUNNING: "stopped"}


def command(study: Study, trial: FrozenTrial, fixed: Sequence[str]) -> str:
    """Returns the command line that repeats a trial's training."""
    tried = study.config.as_overrides(study.values(trial.params))
    return shlex.join(["python", "-m", "sr_lightning.train", *fixed, *tried])


def ranked(study: Study) -> list[FrozenTrial]:
    """Returns the trials, largest gain first, followed by pruned, failed and running ones."""
    places = {TrialState.COMPLETE: 0, TrialState.PRUNED: 1}

    def key(trial: FrozenTrial) -> tuple[int, float, int]:
        value = gain(trial)
        return places.get(trial.state, 2), -(value if value is not None else float("-inf")), trial.number

    return sorted(study.begun(), key=key)


def gain(trial: FrozenTrial) -> float | None:
    """Returns the gain of a trial; for a pruned one, at its last validation."""
    if trial.state == TrialState.COMPLETE:
        return float(trial.values[0])
    last = trial.last_step
    return None if last is None else trial.intermediate_values[last]


def best_trials(study: Study) -> list[FrozenTrial]:
    """Returns the best trial or, with two objectives, the Pareto front, largest gain first."""
    if not any(trial.state == TrialState.COMPLETE for trial in study.trials()):
        return []
    return sorted(study.optuna.best_trials, key=lambda trial: -trial.values[0])[: 1 if _is_single(study) else None]


def study_table(study: Study, trials: Sequence[FrozenTrial], best: Sequence[FrozenTrial]) -> Table:
    """Returns the table for the terminal."""
    keys, heads = list(study.config.space), [UNITS[name] for name in study.config.objectives]
    table = Table(["trial", *short_keys(keys), *heads, "min", "status"], ["trial", *heads, "min"])
    marked = {trial.number for trial in best}
    for trial in trials:
        values, mark = study.values(trial.params), ", best" if _is_single(study) else ", front"
        figures = trial.values if trial.state == TrialState.COMPLETE else [gain(trial), *[None] * (len(heads) - 1)]
        is_best, word = trial.number in marked, _words(study)[trial.state]
        if trial.state == TrialState.PRUNED and trial.last_step is not None:
            word = f"pruned at {trial.last_step}"
        if "same_as" in trial.user_attrs:
            word = f"as trial {trial.user_attrs['same_as']}"
        minutes = trial.user_attrs.get("minutes")
        table.add(
            str(trial.number),
            *(_text(values.get(key, "")) for key in keys),
            *(figure(name, value) for name, value in zip(study.config.objectives, figures, strict=True)),
            "" if minutes is None else f"{minutes:.1f}",
            word + (mark if is_best else ""),
            style="bold" if is_best else "",
        )
    return table


def trials_csv(study: Study) -> str:
    """Returns all trials in full precision as CSV, for a spreadsheet."""
    keys, names = list(study.config.space), study.config.objectives
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", *map(spreadsheet_cell, keys), *names, "last_step", "minutes", "status", "error"])
    for trial in ranked(study):
        values = study.values(trial.params)
        figures = trial.values if trial.state == TrialState.COMPLETE else [gain(trial), *[None] * (len(names) - 1)]
        attributes = [
            trial.last_step,
            trial.user_attrs.get("minutes"),
            _WORDS[trial.state],
            trial.user_attrs.get("error"),
        ]
        row = [trial.number, *(values.get(key) for key in keys), *figures, *attributes]
        writer.writerow([spreadsheet_cell(value) for value in row])
    return text.getvalue()


def importance_lines(study: Study) -> list[str]:
    """Lists for each objective which keys mattered, as shares that sum to one."""
    done = [trial for trial in study.trials() if trial.state == TrialState.COMPLETE]
    if len(study.config.space) < 2 or len(done) < _ENOUGH:
        return []
    lines = []
    for place, name in enumerate(study.config.objectives):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = optuna.importance.get_param_importances(
                    study.optuna,
                    evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
                    target=lambda trial, place=place: trial.values[place],  # type: ignore[misc]  # a default binds it
                )
        except (ValueError, RuntimeError):
            continue
        keys = sorted(found, key=lambda key: -found[key])
        shares = ", ".join(f"{single_line(key)} {found[key]:.2f}" for key in keys)
        lines.append(f"what mattered for {name} (PED-ANOVA, {counted(len(done), 'trial')}): {shares}")
    return lines


def _is_single(study: Study) -> bool:
    return len(study.config.objectives) == 1


def _text(value: object) -> str:
    return single_line(f"{value:g}" if isinstance(value, float) else str(value))


def figure(name: str, value: float | None) -> str:
    """Formats an objective's value; empty if it is None."""
    if value is None:
        return ""
    return f"{value:+.3f}" if name == "gain" else f"{value:,.0f}" if value > 1000 else f"{value:.4g}"
