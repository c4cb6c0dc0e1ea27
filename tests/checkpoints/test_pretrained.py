"""The pretrained weights in the package."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from sr_lightning import evaluate, train
from sr_lightning.checkpoints.weights import WeightsFile
from sr_lightning.weights.pretrained import pretrained_file, pretrained_names

pytestmark = pytest.mark.usefixtures("_hydras_logging")
CARD = pretrained_file(pretrained_names()[0]).with_name("README.md")


def card():
    """Name -> the figures of the card's table: parameters, Set5 and Set14."""
    lines = [[cell.strip() for cell in line.strip("| ").split("|")] for line in CARD.read_text().splitlines()]
    return {cells[0].strip("`"): cells[1:] for cells in lines if len(cells) > 4 and cells[0].startswith("`")}


def test_the_card_tells_of_all_and_together_they_are_small():
    assert sorted(card()) == pretrained_names()
    assert sum(pretrained_file(name).stat().st_size for name in pretrained_names()) < 8_000_000


@pytest.mark.parametrize("name", pretrained_names())
def test_a_file_knows_its_network_and_nothing_of_the_machine(name):
    config = WeightsFile.read(pretrained_file(name)).network_config
    assert config["scale"] == [int(name[-1])]
    with safe_open(pretrained_file(name), framework="pt") as file:
        note = json.loads(file.metadata()["sr_lightning"])
    more = ["BSD200-extra"] if "_clean_" in name else []
    assert note["config"]["data"] == {"train_dir": ["T91", "BSD200", *more]}
    assert set(note["config"]) == {"model", "scale", "seed", "data"}


QUICK = {"edsr_tiny_y_x4", "edsr_small_y_gan_x4", "edsr_recursive_y_x2"}  # the others run with `-m slow`


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in pretrained_names()]
)
def test_they_reach_what_the_card_says(sr_data, monkeypatch, name):
    monkeypatch.setenv("SR_DATA", str(sr_data))
    assert evaluate.main([f"checkpoint={name}", "cost=false", "accelerator=cpu", "sets=[Set5]"]) == 0
    (run,) = Path("runs/evaluate").iterdir()
    bicubic, row = json.loads((run / "results.json").read_text())["rows"]
    assert (bicubic["method"], row["method"], row["checkpoint"]) == ("bicubic", name, name)
    psnr, _, ssim = card()[name][1].partition(" / ")
    assert row["psnr_y"] == pytest.approx(float(psnr), abs=0.0051)
    assert row["ssim_y"] == pytest.approx(float(ssim), abs=0.00051)


def test_a_run_starts_from_them(tiny, capsys):
    settings = [argument for argument in tiny if not argument.startswith("model.")]
    start = ["model=edsr_tiny_y", "model.weights=edsr_tiny_y_x4", "optimizer.lr=1e-12"]
    assert train.main([*settings, *start]) == 0
    (run,) = Path("runs/train").iterdir()
    assert json.loads((run / "results.json").read_text())["rows"][1]["gain"] > 0.3
    assert train.main([*settings, "model.weights=edsr_tiny_y_x5"]) == 2
    assert (
        "model.weights: edsr_tiny_y_x5 is not there; allowed: a file of weights, the folder of a run"
        in capsys.readouterr().err
    )
