"""The end of a sweep: its table, its files, what failed, and what an earlier call has done."""

import csv
import io
import json
import shlex
import sys
from pathlib import Path

import pytest
from rich.console import Console

from sr_lightning.cli import main as entry
from sr_lightning.cli.jobs import Session
from sr_lightning.cli.launcher import processes
from sr_lightning.cli.sweep import STOP, Sweep
from sr_lightning.cli.sweep_table import SweepJob, csv_rows, ranked, sweep_table
from sr_lightning.config.compose import compose_jobs
from sr_lightning.config.conf_files import conf_dir, register_resolvers
from sr_lightning.config.launchers import launcher_class_findings, launcher_findings
from sr_lightning.config.train import check_train
from sr_lightning.errors import InterruptedRun, TrainingFailedError, UserError
from sr_lightning.runs.shares import held_slot, share, visible_gpus
from sr_lightning.text import short_keys, spreadsheet_cell

SWEEP = ["-m", "logger=csv", "hydra.sweep.dir=sweep"]
TWO = [*SWEEP, "loss.beta=0,0.1", "scale=2,4"]
GAINS = {(2, 0): 1.5, (2, 0.1): -0.25, (4, 0): 2.5, (4, 0.1): None}


def results(config, objective, name="Set5"):
    own = {"set": name, "scale": config.scale[0], "method": "EDSR", "checkpoint": None, "psnr_y": 30.0, "ssim_y": 0.9}
    rows = [own | {"method": "bicubic"}, own]
    return json.dumps({"rows": rows, "objective": objective, "minutes": 1.25})


def task(config, run):
    """In place of training: x4 with beta 0.1 fails."""
    gain = GAINS[config.scale[0], config.loss["beta"]]
    if gain is None:
        raise ZeroDivisionError("broken\non purpose")
    (run.folder / "results.json").write_text(results(config, gain))
    return gain


def columns(text):
    return [line.split() for line in text.splitlines() if line.split()[:1] and line.split()[0].isdigit()]


def test_the_best_is_first_and_the_same_command_runs_only_what_failed(capsys):
    assert entry.run_command("train", task, TWO) == 1
    out, err = capsys.readouterr()
    assert [row[0] for row in columns(out.rpartition("status")[2])] == ["0", "2", "1", "3"]
    assert "job 0 of 4: loss.beta=0 scale=2" in out
    assert "logger=csv" not in out  # the same in all jobs
    below = out.rpartition("min  status")[2]
    assert "Traceback" not in out + err
    assert "job 3 failed: broken; on purpose   (sweep/3/train.log)" in below
    assert "ZeroDivisionError" in Path("sweep/3/train.log").read_text()
    assert "python -m sr_lightning.compare runs=sweep" in below
    assert "30.00/.9000" in below
    assert out.count(" best at x") == 2
    with open("sweep/sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["job"], row["loss.beta"], row["scale"]) for row in rows[::2]] == [("0", "0", "2"), ("1", "0", "4")]
    assert [row["val/gain dB"] for row in rows] == ["1.5", "-0.25", "2.5", ""]
    assert rows[2]["Set5 x4 psnr_y"] == "30.0"
    document = json.loads(Path("sweep/sweep.json").read_text())
    assert document["best_of_scale"] == {"x2": 0, "x4": 1}
    assert [job["status"] for job in document["jobs"]] == ["done", "done", "done", "failed"]
    assert Path("sweep/sweep.log").read_text().count("\n") == 10  # the plan, two lines for each job, the end

    def mended(config, run):
        (run.folder / "results.json").write_text(results(config, 3.0))
        return 3.0

    assert entry.run_command("train", mended, TWO) == 0
    out = capsys.readouterr().out
    assert "3 of 4 jobs are done, and not run again" in out
    assert out.count("done before") == 3
    assert [row[0] for row in columns(out.rpartition("status")[2])] == ["0", "2", "3", "1"]


def test_what_is_known_lies_on_the_disk_after_every_job():
    seen = []

    def looks(config, run):
        seen.append([job["status"] for job in json.loads(Path("sweep/sweep.json").read_text())["jobs"]])
        if len(seen) == 2:
            raise InterruptedRun(15)
        return task(config, run)

    assert entry.run_command("train", looks, TWO) == 143
    assert seen == [["running", "waiting", "waiting", "waiting"], ["done", "running", "waiting", "waiting"]]
    after = {job["number"]: job["status"] for job in json.loads(Path("sweep/sweep.json").read_text())["jobs"]}
    assert after == {0: "done", 1: "interrupted", 2: "not run", 3: "not run"}


def test_wrong_input_is_status_2_and_a_limit_on_the_batch_of_jobs_ends_no_sweep(capsys):
    def refuses(config, run):
        raise UserError(f"data.train_dir: nothing for x{config.scale[0]}")

    assert entry.run_command("train", refuses, [*SWEEP, "scale=2,4", "hydra.sweeper.max_batch_size=1"]) == 2
    assert capsys.readouterr().out.count("failed: data.train_dir: nothing for") == 4  # as it happens, and at the end


def test_three_sets_fit_80_columns_and_figures_are_never_cut():
    jobs = [SweepJob(i, str(i), [f"loss.beta={beta}", "scale=4"], "done", 1.0) for i, beta in enumerate((0, 0.003))]
    for job in jobs:
        job.rows = [(name, 4, 28.43, 0.8111) for name in ("Set5", "Set14", "BSD100")]
        job.minutes = 123.4
    for width in (80, 30):
        console = Console(width=width, file=io.StringIO(), color_system=None)
        console.print(sweep_table(jobs, "val/gain dB"))
        text = console.file.getvalue()
        assert all(len(line.rstrip()) <= width for line in text.splitlines())
        assert text.count("28.43/.8111") == 6
        assert text.count("0.003") == 1
    assert "beta 0.003" in text  # each row is a paragraph


def test_hostile_names_mean_nothing_to_terminal_and_spreadsheet():
    jobs = [SweepJob(0, "0", ["+data.test.A=\x1b[31m=cmd|x"]), SweepJob(1, "1", ["+data.test.A==1+1", "seed=-2"])]
    jobs[0].rows = [("=\x1b]0;x\x07SUM(A1)", 4, None, 0.5)]
    jobs[0].error = "=evil\nline"
    heads, rows = csv_rows(ranked(jobs), "gain")
    cells = [*heads, *(cell for row in rows for cell in row if isinstance(cell, str))]
    assert not any(cell.startswith(("=", "+", "-", "@")) and cell != "-2" for cell in cells)
    assert not any("\x1b" in cell or "\n" in cell for cell in cells)
    table = sweep_table(ranked(jobs), "gain")
    assert "\x1b" not in "".join([*table.columns, *(cell for row in table.rows for cell in row.cells)])


def test_the_best_is_that_of_each_scale():
    """An x2 job gains more than an x4 job whatever both are worth."""
    gains = {"0": ("2", 4.0), "1": ("4", 2.5), "2": ("2", 5.0), "3": ("4", 2.7), "4": ("[2,4]", 3.0)}
    jobs = [SweepJob(int(n), n, [f"scale={scale}"], "done", gain) for n, (scale, gain) in gains.items()]
    jobs.append(SweepJob(5, "5", ["scale=2"], "failed"))
    table = sweep_table(ranked(jobs), "gain")
    assert [(row.cells[0], row.cells[-1]) for row in table.rows] == [
        *(("2", "best at x2"), ("0", "done"), ("4", "best at x2+x4"), ("3", "best at x4"), ("1", "done")),
        ("5", "failed"),
    ]
    for job in jobs:
        job.overrides = ["experiment=mine"]
        job.rows = [("Set5", 4, 30.0, 0.9)]  # what was tested counts, not how it was asked for
    assert [row.cells[-1] for row in sweep_table(ranked(jobs), "gain").rows][:2] == ["best", "done"]


def test_a_set_at_several_scales_gets_a_column_for_each():
    one, two = SweepJob(0, "0", ["seed=1"]), SweepJob(1, "1", ["seed=2"])
    one.rows = [("Set5", 2, 30.0, 0.9)]
    two.rows = [("Set5", 4, None, 1.0)]
    assert sweep_table([one, two], "gain").columns == ["job", "seed", "gain", "Set5", "min", "status"]
    assert sweep_table([one, two], "gain").rows[1].cells[3] == "inf/1.0000"
    one.rows += [("Set5", 3, 28.0, 0.8)]
    assert "Set5 x3" in sweep_table([one, two], "gain").columns


@pytest.mark.parametrize(
    "text", ["", "[]", '{"rows": 3}', '{"rows": [{"method": 1}]}', '{"objective": "x", "rows": []}']
)
def test_a_damaged_results_file_gives_no_figures(tmp_path, text):
    sweep = Sweep(tmp_path, "command", "gain")
    sweep.begin(0, "0", ["seed=1"])
    (tmp_path / "0").mkdir()
    (tmp_path / "0/results.json").write_text(text)
    job = sweep.end(0, "done")
    assert (job.objective, job.rows) == (None, [])
    (tmp_path / "sweep.json").write_text("{}")  # and so is a damaged table begun anew
    assert sweep.end(0, "failed", error=TrainingFailedError("x")).error == "x"


def test_short_keys_tell_each_other_apart():
    assert short_keys(["loss.beta", "optimizer.lr", "adversarial.optimizer.lr", "scale"]) == [
        "beta",
        "optimizer.lr",
        "adversarial.optimizer.lr",
        "scale",
    ]
    assert spreadsheet_cell("=1") == "'=1"


@pytest.mark.parametrize("name", sorted(path.stem for path in Path(conf_dir(), "sweep").glob("*.yaml")))
def test_every_shipped_sweep_composes(name):
    """That one is narrowed on the command line: config/test_config.py."""
    register_resolvers()
    composed = compose_jobs("train", [f"sweep={name}"], config_dir=None, config_name=None, is_sweep=False)
    assert 2 < len(composed) < 5
    assert all(check_train(job.config) for job in composed)


# -- launchers -------------------------------------------------------------------------------------------


def test_threads_and_gpus_are_shared_out(monkeypatch):
    monkeypatch.setattr("sr_lightning.runs.shares.cores", lambda: 8)
    assert share(1, 3, gpus=[]) == {"OMP_NUM_THREADS": "2"}
    assert share(1, 3, gpus=[], threads="5") == {"OMP_NUM_THREADS": "5"}
    four = list("0123")
    assert [share(i, 2, gpus=four)["CUDA_VISIBLE_DEVICES"] for i in range(2)] == ["0,1", "2,3"]
    assert [share(i, 3, gpus=["5", "7"])["CUDA_VISIBLE_DEVICES"] for i in range(3)] == ["5", "7", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-a")
    assert visible_gpus() == ["3", "GPU-a"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == []


def test_jobs_beside_each_other_hold_different_slots(tmp_path):
    with held_slot(tmp_path, 2) as first, held_slot(tmp_path, 2) as second:
        assert {first, second} == {0, 1}
    with held_slot(tmp_path, 2) as again:
        assert again == 0


def test_automatic_devices_are_those_of_the_share():
    class Config:
        hardware = {"accelerator": "gpu", "devices": "auto"}  # noqa: RUF012 (never changed)

    assert processes(Config(), gpus=["2", "3"]) == 2


def test_a_launcher_that_is_not_installed_is_answered_with_its_extra(monkeypatch, capsys):
    monkeypatch.setattr("sr_lightning.config.launchers._is_installed", lambda module: False)
    for launcher, extra in {
        "parallel": "joblib",
        "joblib": "joblib",
        "slurm": "slurm",
        "submitit_local": "slurm",
    }.items():
        assert entry.run_command("train", task, [*SWEEP, "scale=2,4", f"hydra/launcher={launcher}"]) == 2
        assert f"pip install 'sr_lightning[{extra}]'" in capsys.readouterr().err
    assert "slurm" in launcher_class_findings("hydra_plugins.hydra_submitit_launcher.x.SlurmLauncher", "")[0]


def test_optunas_sweeper_is_answered_with_tune(capsys):
    assert entry.run_command("train", task, [*SWEEP, "scale=2,4", "hydra/sweeper=optuna"]) == 2
    assert "python -m sr_lightning.tune" in capsys.readouterr().err
    assert launcher_class_findings("", "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper")
    assert not list(launcher_findings(["hydra/sweeper=basic", "hydra/launcher=basic"]))


def test_a_launcher_that_breaks_leaves_the_table_and_one_line(monkeypatch, capsys):
    def breaks(session, arguments):
        session.sweep.begin(1, "1", ["scale=4"])
        raise OSError("a worker was killed")

    monkeypatch.setattr(Session, "_call_hydra", breaks)
    assert entry.run_command("train", task, [*SWEEP, "scale=2,4"]) == 1
    out, err = capsys.readouterr()
    assert out.count("not run") == 1
    assert out.count("killed") == 1
    assert err == "the launcher ended early: OSError: a worker was killed\n"


def test_jobs_in_other_processes_fill_the_same_table(capsys):
    """Through submitit, whose local executor starts a process for each job, as SLURM does."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the optional extra slurm")
    cloudpickle = pytest.importorskip("cloudpickle", reason="needs the optional extra slurm")
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # as what is defined by the user's own script
    assert (
        entry.run_command("train", task, [*SWEEP, "loss.beta=0.1,0", "scale=4", "hydra/launcher=submitit_local"]) == 1
    )
    out = capsys.readouterr().out
    assert [row[0] for row in columns(out.rpartition("status")[2])] == ["1", "0"]
    assert "job 0 failed: broken; on purpose   (sweep/0/train.log)" in out
    assert not Path("sweep", STOP).exists()


def test_an_interpolation_differs_in_no_job_and_the_command_can_be_typed_again(capsys):
    """What differs is what the user has typed differently; the shell's quotes are those of the record."""
    typed = [
        *SWEEP,
        "loss.beta=0,0.1",
        "scale=2",
        "+loss.terms.mine={_target_: torch.nn.L1Loss, weight: '${loss.beta}'}",
        "loss.pixel=l2",
    ]
    entry.run_command("train", task, typed)
    assert "mine" not in capsys.readouterr().out
    document = json.loads(Path("sweep/sweep.json").read_text())
    assert {job["overrides"][3] for job in document["jobs"]} == {document["jobs"][0]["overrides"][3]}
    assert shlex.split(document["command"]) == ["python", "-m", "sr_lightning.train", *typed]
