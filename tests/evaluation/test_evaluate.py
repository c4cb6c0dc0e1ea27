"""The command: mistakes in what is typed or in its files, sweeps, and the folder of an evaluation."""

import json
from pathlib import Path

import pytest
import torch

from helpers.evaluations import QUICK, document, mine, save_network
from sr_lightning.evaluate import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def test_a_sweeps_job_without_a_row_fails_and_is_not_done(folder, tmp_path):
    path = save_network(tmp_path / "bad.ckpt")
    state = torch.load(path, weights_only=True)
    state["state_dict"] = {key: value * 1e30 for key, value in state["state_dict"].items()}
    torch.save(state, path)
    settings = ["-m", f"checkpoint={path}", "seed=1", *mine(folder), *QUICK, "hydra.sweep.dir=sweep"]
    assert main(settings) == 1
    assert main(settings) == 1
    assert json.loads(Path("sweep/0/results.json").read_text())["objective"] is None


def test_a_sweep_and_its_objective(folder, tmp_path, capsys):
    paths = [save_network(tmp_path / f"{seed}.ckpt", seed=seed) for seed in (1, 2)]
    settings = [f"checkpoint={paths[0]},{paths[1]}", *mine(folder), *QUICK]
    assert main(["-m", *settings, "hydra.sweep.dir=sweep"]) == 0
    gains = [document(Path("sweep", name))["objective"] for name in "01"]
    assert gains == [
        pytest.approx(next(r["gain"] for r in document(Path("sweep", name))["rows"] if r["method"] == "EDSR"))
        for name in "01"
    ]
    assert f"{gains[1]:+.3f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "checkpoint: null, and no model; allowed: checkpoint=<file or run folder>"),
        (["model=bicubic"], "scale: must be given for a model that is typed"),
        (["model=bicubic", "scale=5"], "scale: found 5, allowed: one of 2, 3, 4, 8"),
        (["model=bicubic", "scale=4", "sets=[Set5]"], "data.test.Set5.hr: data/test/Set5 is not there"),
        (["checkpoint=nowhere.ckpt"], "checkpoint: nowhere.ckpt is not there"),
        (["checkpoint=[a.ckpt,b.ckpt]"], "checkpoint: b.ckpt is not there"),
        (["checkpoint=."], "checkpoint: . holds no checkpoints/best.ckpt"),
        (["checkpoint=3"], "checkpoint: 3 is not there"),
        (["checkpoint={bicubic: a}"], "checkpoint.bicubic: bicubic stands in every table"),
        (["chekpoint=a"], "chekpoint: no such key; did you mean 'checkpoint'?"),
        (["ckpt_path=last"], "ckpt_path: no such key"),
        (["model=bicubic", "scale=4", "metrics=[lpisp]"], "metrics: found 'lpisp', did you mean 'lpips'?"),
        (["model=bicubic", "scale=4", "format=html"], "format: found 'html'"),
        (["model=bicubic", "scale=4", "tile=3"], "tile: found 3, allowed: null, or a whole number of at least 16"),
        (["model=bicubic", "scale=4", "devices=0"], "devices: found 0"),
        (["model=bicubic", "scale=4", "accelerator=tpu"], "accelerator: found 'tpu'"),
        (["model=bicubic", "scale=4", "cost=maybe"], "cost: found 'maybe', allowed: true or false"),
        (["model=bicubic", "scale=4", "data.kernel=cubic"], "data.kernel: found 'cubic'"),
        (["model=bicubic", "scale=4", "+data.tset.Mine=x"], "data.tset: no such key; did you mean 'test'?"),
        (["model=bicubic", "scale=4", "sets=[]"], "sets: found []"),
        (["checkpoint=edsr_tiny_x4"], "did you mean 'edsr_tiny_y_x4'?"),
        (["checkpoint=edsr_tiny_y_x4", "model=edsr_tiny_y"], "scale: must be given for a model that is typed"),
        (["model=edsr_tiny_y", "scale=4", "model.weights=edsr_y_x5"], "model.weights: edsr_y_x5 is not there"),
        (
            ["checkpoint=edsr_tiny_y_x4", "model=edsr_tiny_y", "scale=2", "model.fresh=[tail]"],
            "model.fresh: found ['tail'], allowed: nothing",
        ),
    ],
)
def test_bad_input_is_told_before_torch_is_needed(overrides, said, capsys):
    assert main(overrides) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    assert not Path("runs").exists()


@pytest.mark.fault("T11", "status 2, both named")
def test_what_only_the_files_can_tell(folder, tmp_path, capsys):
    path = save_network(tmp_path / "a.ckpt")
    foreign = save_network(tmp_path / "b.ckpt", model={"_target_": "my_package.Net"})
    torch.save({"x": torch.zeros(1)}, tmp_path / "c.pth")
    for overrides, said in (
        ([f"checkpoint={path}", "scale=2"], "scale: found [2], but"),
        ([f"checkpoint={foreign}"], "my_package.Net"),
        ([f"checkpoint={path}", "model=edsr_baseline", "scale=4"], "does not fit EDSR"),
        ([f"checkpoint={tmp_path}/c.pth"], "c.pth"),
        (["model=edsr_tiny", "scale=4"], "model.weights: EDSR would be evaluated with random weights"),
        ([f"checkpoint={path}", "accelerator=gpu"], "accelerator: found gpu"),
    ):
        if "accelerator=gpu" in overrides and torch.cuda.is_available():
            continue
        assert main([*overrides, *mine(folder), "cost=false"]) == 2, overrides
        err = capsys.readouterr().err
        assert said in err
        assert "Traceback" not in err
        assert list(Path("runs/evaluate").iterdir()) == [], overrides


def test_evaluations_that_start_in_the_same_second_get_folders_of_their_own(folder, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda *_: "2026-01-01_00-00-00")
    Path("runs/evaluate/2026-01-01_00-00-00").mkdir(parents=True)  # the first one's
    assert main(["model=bicubic", "scale=4", *mine(folder), *QUICK]) == 0
    assert {path.name for path in Path("runs/evaluate").iterdir()} == {"2026-01-01_00-00-00", "2026-01-01_00-00-00_2"}
