"""Studies with a stand-in for training: what is chosen, pruned, recorded, continued and told."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from sr_lightning.tune import main
from sr_lightning.tuning import trial_run

STUB = Path(__file__).parents[1] / "helpers/stub_trial.py"
BETA = ["+search.loss.beta=[1e-4,1,log]", "logger=csv", "study=mine"]
STUDY = Path("runs/tune/mine")
HOLD = """
import pathlib, sys
from sr_lightning.runs.lock import locked
with locked(pathlib.Path(sys.argv[1]), "study"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _stub(monkeypatch):
    monkeypatch.setattr(trial_run, "PROGRAM", (sys.executable, str(STUB)))
    monkeypatch.setattr("sr_lightning.tuning.search._LOOKS", 0.02)


def recorded(path=STUDY):
    return optuna.load_study(study_name="mine", storage=f"sqlite:///{path.absolute()}/study.db").trials


def states():
    return [trial.state.name for trial in recorded()]


def test_the_largest_gain_is_found_and_its_command_told(capsys):
    assert main([*BETA, "+search.optimizer.lr=[0.001,0.002]", "n_trials=6", "pruner=null"]) == 0
    out = capsys.readouterr().out
    best = max(recorded(), key=lambda trial: trial.value)
    table = [line.split() for line in out.splitlines() if line.split()[:1] and line.split()[0].isdigit()]
    gains = [float(row[3]) for row in table]
    assert gains == sorted(gains, reverse=True)
    assert table[0][0] == str(best.number)
    assert table[0][-1] == "best"
    command = out.rstrip().splitlines()[-1]
    assert command.startswith("  python -m sr_lightning.train logger=csv loss.beta=")
    typed = float(command.split("loss.beta=")[1].split()[0])
    assert typed == pytest.approx(best.params["loss.beta"], rel=1e-3)
    assert "what mattered for gain (PED-ANOVA, 6 trials): " in out
    with (STUDY / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == [int(row[0]) for row in table]
    assert float(rows[0]["gain"]) == best.value


def test_the_same_command_continues_and_draws_other_points(capsys):
    assert main([*BETA, "n_trials=2"]) == 0
    assert main([*BETA, "n_trials=4"]) == 0
    betas = [trial.params["loss.beta"] for trial in recorded()]
    assert len(set(betas)) == 4
    capsys.readouterr()
    assert main([*BETA, "n_trials=4"]) == 0
    assert "continuing with 4 of 4 trials" in capsys.readouterr().out
    assert len(recorded()) == 4


OTHERS = [
    (["+search.loss.beta=[1e-4,2,log]", "logger=csv", "study=mine"], "search.loss.beta"),
    ([*BETA, "scale=2"], "scale"),
    ([*BETA, "objectives=[gain,parameters]"], "objectives"),
]


def test_a_study_that_would_search_something_else_is_refused(capsys):
    assert main([*BETA, "n_trials=1"]) == 0
    for changed, named in OTHERS:
        assert main([*changed, "n_trials=2"]) == 2
        assert f"{named}: differs from what the study mine was begun with" in capsys.readouterr().err
        assert len(recorded()) == 1


def test_trials_that_fall_behind_are_pruned_with_a_signal(monkeypatch):
    monkeypatch.setenv("STUB_PAUSE", "0.1")
    assert main([*BETA, "n_trials=10", "seed=3"]) == 0
    pruned = [trial for trial in recorded() if trial.state.name == "PRUNED"]
    assert pruned
    for trial in pruned:
        assert trial.last_step < 100
        assert not (STUDY / str(trial.number) / "results.json").exists()
    assert max(recorded(), key=lambda t: t.value).state.name == "COMPLETE"


@pytest.mark.slow
def test_hyperband_gets_steps_as_its_resource(monkeypatch):
    monkeypatch.setenv("STUB_PAUSE", "0.05")
    settings = ["pruner=hyperband", "trainer.max_steps=100", "trainer.val_check_interval=10"]
    assert main([*BETA, "n_trials=9", *settings]) == 0
    assert "PRUNED" in states()


def test_a_failed_trial_is_said_and_the_study_goes_on(monkeypatch, capsys):
    monkeypatch.setenv("STUB_FAIL", "0.02")
    assert main([*BETA, "n_trials=6"]) == 0
    assert {"FAIL", "COMPLETE"} <= set(states())
    assert "failed: the loss is not finite at step 3" in capsys.readouterr().out


def test_a_study_in_which_all_fail_ends_early(monkeypatch, capsys):
    monkeypatch.setenv("STUB_FAIL", "0")
    assert main([*BETA, "n_trials=20"]) == 1
    assert states() == ["FAIL"] * 3
    assert "no trial succeeds; the first: the loss is not finite" in capsys.readouterr().err
    monkeypatch.delenv("STUB_FAIL")  # the user has mended what was wrong
    assert main([*BETA, "n_trials=4"]) == 0
    assert states() == [*["FAIL"] * 3, "COMPLETE"]


def test_two_objectives_give_a_front(capsys):
    assert main([*BETA, "n_trials=6", "objectives=[gain,perceptual]"]) == 0
    out = capsys.readouterr().out
    trials = [trial.values for trial in recorded()]
    front = [a for a in trials if not any(b[0] >= a[0] and b[1] <= a[1] and b != a for b in trials)]
    assert out.count(", front") == len(front)
    assert out.count("python -m sr_lightning.train ") == len(front)


def killed_study(wait_for, number=signal.SIGKILL):
    """Runs a slow study in a process of its own, and sends it a signal once `wait_for` is there."""
    script = (
        "import sys; from sr_lightning.tuning import trial_run; from sr_lightning.tune import main;"
        f"trial_run.PROGRAM = (sys.executable, {str(STUB)!r}); sys.exit(main({[*BETA, 'n_trials=4']!r}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "STUB_PAUSE": "0.3"}, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 100
    while not wait_for() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


def halfway():
    metrics = STUDY / "1/metrics.csv"
    return metrics.exists() and metrics.read_text().count("\n") > 3


def test_a_killed_study_takes_its_trials_up_again():
    assert killed_study(halfway)[0] == -signal.SIGKILL
    assert states() == ["COMPLETE", "RUNNING"]
    before = (STUDY / "1/metrics.csv").read_text()
    params = recorded()[1].params
    assert main([*BETA, "n_trials=4", "pruner=null"]) == 0
    assert states() == ["COMPLETE"] * 4
    assert recorded()[1].params == params
    assert (STUDY / "1/metrics.csv").read_text().startswith(before)


@pytest.mark.slow
def test_an_interrupted_study_says_how_it_goes_on():
    status, out = killed_study(halfway, signal.SIGINT)
    assert status == 130
    assert "trial 1 stopped" in out
    assert "the same command continues the study" in out
    assert states() == ["COMPLETE", "RUNNING"]


def test_a_trial_that_was_finished_when_the_study_was_killed_is_not_trained_again():
    assert main([*BETA, "n_trials=1"]) == 0
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{STUDY.absolute()}/study.db")
    study.ask({"loss.beta": optuna.distributions.FloatDistribution(1e-4, 1, log=True)})
    (STUDY / "1").mkdir()
    (STUDY / "1/results.json").write_text(json.dumps({"objective": 9.0, "rows": [{"method": "EDSR", "params": 1}]}))
    assert main([*BETA, "n_trials=2"]) == 0
    assert recorded()[1].value == 9.0


def test_a_trial_that_an_earlier_call_has_left_is_not_said_to_run(capsys):
    assert main([*BETA, "n_trials=1"]) == 0
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{STUDY.absolute()}/study.db")
    study.ask({"loss.beta": optuna.distributions.FloatDistribution(1e-4, 1, log=True)})
    capsys.readouterr()
    assert main([*BETA, "n_trials=2", "timeout=1e-9"]) == 0
    assert "study mine: 1 done, 1 stopped;" in capsys.readouterr().out
    assert states() == ["COMPLETE", "RUNNING"]


def test_two_calls_in_one_folder_are_refused(capsys):
    STUDY.mkdir(parents=True, exist_ok=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(STUDY.absolute())], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    try:
        assert main([*BETA, "n_trials=1"]) == 2
    finally:
        holder.communicate()
    assert "study: runs/tune/mine is in use by another run (process" in capsys.readouterr().err
    assert main([*BETA, "n_trials=1"]) == 0


def test_values_that_were_tried_are_not_trained_again(capsys):
    assert main(["+search.loss.beta=[0.1,0.01,choice]", "logger=csv", "study=mine", "n_trials=5"]) == 0
    assert len(list(STUDY.glob("*/results.json"))) == 2
    assert len({trial.value for trial in recorded()}) == 2
    assert "as trial " in capsys.readouterr().out


def test_several_trials_at_once_and_a_database_of_ones_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STUB_PAUSE", "0.05")
    assert main([*BETA, "n_trials=4", "n_jobs=2", f"storage=sqlite:///{tmp_path}/shared.db"]) == 0
    assert not (STUDY / "study.db").exists()
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{tmp_path}/shared.db")
    first, second = study.trials[:2]
    assert second.datetime_start < first.datetime_complete
    assert len(study.trials) == 4


@pytest.mark.slow
def test_a_trial_of_a_machine_that_died_is_done_again_with_its_values(tmp_path, monkeypatch):
    monkeypatch.setattr("sr_lightning.tuning.study._PATIENCE", 1)
    shared = [*BETA, f"storage=sqlite:///{tmp_path}/shared.db"]
    assert main([*shared, "n_trials=1"]) == 0
    url = f"sqlite:///{tmp_path}/shared.db"
    study = optuna.load_study(study_name="mine", storage=url)
    dead = study.ask({"loss.beta": optuna.distributions.FloatDistribution(1e-4, 1, log=True)})
    optuna.storages.RDBStorage(url).record_heartbeat(dead._trial_id)
    time.sleep(2.5)  # the database counts in seconds
    assert main([*shared, "n_trials=3"]) == 0
    trials = optuna.load_study(study_name="mine", storage=url).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    again = next(trial for trial in trials if trial.system_attrs.get("failed_trial") == 1)
    assert again.params == dead.params


def test_a_password_in_a_databases_address_is_not_told(monkeypatch, capsys):
    monkeypatch.setenv("SR_TUNE_STORAGE", "sqlite://user:hunter2secret@host/a/b.db")
    assert main([*BETA, "n_trials=1"]) == 2
    out, err = capsys.readouterr()
    assert "hunter2secret" not in out + err
    assert "SR_TUNE_STORAGE" in err
    monkeypatch.delenv("SR_TUNE_STORAGE")
    assert main([*BETA, "storage=postgresql://user:hunter2secret@host/a"]) == 2
    assert "hunter2secret" not in "".join(capsys.readouterr())


def test_without_optuna_its_extra_is_named(monkeypatch, capsys):
    real = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("sr_lightning.tune.find_spec", lambda name: None if name == "optuna" else real(name))
    assert main([*BETA]) == 2
    assert "pip install 'sr_lightning[tune]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "key", "value"),
    [
        ([], "val_metrics", "[perceptual]"),
        (["val_metrics=[ms_ssim]"], "val_metrics", "[ms_ssim,perceptual]"),
        (["val_metrics=[perceptual]"], "val_metrics", "[perceptual]"),
        (["+val_metrics.mine={_target_: torch.nn.L1Loss}"], "val_metrics.perceptual", "true"),
    ],
)
def test_trials_go_to_one_group_and_measure_the_second_objective(typed, key, value):
    objectives = ["objectives=[gain,perceptual]", "n_trials=1", "study=mine"]
    assert main(["+search.loss.beta=[1e-4,1,log]", *objectives, *typed]) == 0
    found = json.loads((STUDY / "0/.hydra/config.yaml").read_text())
    assert found["logger.wandb.group"] == "mine"
    assert found["logger.wandb.job_type"] == "trial"
    assert found[key] == value


@pytest.mark.fault("T24", "refused: the trials of a study whose records are gone are not another's")
def test_trials_whose_records_are_gone_are_not_taken_for_new_ones(capsys):
    assert main([*BETA, "n_trials=2"]) == 0
    before = {path.name: path.read_bytes() for path in STUDY.rglob("*.json")}
    (STUDY / "study.db").unlink()
    for _ in range(2):
        assert main([*BETA, "n_trials=2", "loss.alpha=2"]) == 2
        assert "study: runs/tune/mine/0 is a trial of a study whose records are gone" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in STUDY.rglob("*.json")} == before


@pytest.mark.fault("T24", "refused in one line")
@pytest.mark.parametrize("content", [b"SQLite", b"SQLite format 3\0" + bytes(500), bytes(range(256)) * 20])
def test_records_that_are_torn_are_said(content, capsys):
    assert main([*BETA, "n_trials=1"]) == 0
    (STUDY / "study.db").write_bytes(content)
    assert main([*BETA, "n_trials=2"]) == 2
    err = capsys.readouterr().err
    assert "storage: the database cannot be used: " in err
    assert "Traceback" not in err
    assert (STUDY / "study.db").read_bytes() == content


@pytest.mark.fault("C9", "refused, the key is named")
@pytest.mark.parametrize("key", ["hydra.run.dir", "paths.runs", "ckpt_path"])
def test_the_places_of_trials_are_not_searched(key, capsys):
    assert main([f"+search.{key}=[a,b]", "logger=csv", "n_trials=1"]) == 2
    assert f"search.{key}: is each trial's own" in capsys.readouterr().err


@pytest.mark.fault("S12", "neither stored nor told, whatever its characters are")
@pytest.mark.parametrize("password", ["hidden pw", "hid/den", "hid:den", "hidden"])
def test_passwords_of_any_characters_are_not_told(password, monkeypatch, capsys):
    url = f"postgresql://me:{password}@localhost:port/x"
    assert main([*BETA, "n_trials=1", f"storage='{url}'"]) == 2
    monkeypatch.setenv("SR_TUNE_STORAGE", url)
    assert main([*BETA, "n_trials=1"]) == 2
    told = capsys.readouterr()
    assert "hid" not in told.out + told.err
    assert "Traceback" not in told.err
    assert not [path for path in Path("runs").rglob("*") if path.is_file() and b"hid" in path.read_bytes()]
