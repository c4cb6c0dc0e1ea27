"""Weights that `export` writes as safetensors, and the figures of their run in the file."""

import json
from pathlib import Path

import pytest
import safetensors
import torch

from helpers.evaluations import save_network
from helpers.run_folders import make_run
from sr_lightning import load
from sr_lightning.checkpoints.weights import WeightsFile
from sr_lightning.export import main
from sr_lightning.exporters.figures import known_figures
from sr_lightning.files import sha256

pytestmark = pytest.mark.usefixtures("_hydras_logging")

WEIGHTS = "edsr_tiny_y_x2"


def test_weights_as_safetensors_are_a_checkpoint_again(capsys):
    assert main([f"checkpoint={WEIGHTS}", "format=safetensors", "output=net.safetensors"]) == 0
    net, before = load("net.safetensors"), load(WEIGHTS)
    x = torch.rand(1, 1, 9, 11)
    with torch.no_grad():
        torch.testing.assert_close(net(x), before(x), rtol=0, atol=0)
    assert WeightsFile.read(Path("net.safetensors")).network_config["scale"] == [2]
    assert main([f"checkpoint={WEIGHTS}", "format=safetensors", "precision=float16"]) == 0
    half = Path(f"{WEIGHTS}_float16.safetensors")
    assert half.stat().st_size < 0.6 * Path("net.safetensors").stat().st_size
    assert load(half)(x).dtype == torch.float32


def card_of(path):
    with safetensors.safe_open(path, "pt") as file:
        return json.loads(file.metadata()["sr_lightning_export"])


def test_a_runs_figures_go_into_the_file_while_they_are_its_weights(tmp_path):
    run = tmp_path / "run"
    make_run(run, sets={"Five": 5})
    best = save_network(run / "checkpoints" / "best.ckpt")
    results = json.loads((run / "results.json").read_text())
    own = results["rows"][1]
    own |= {"checkpoint_sha256": sha256(best), "psnr_y": 28.426, "ssim_y": 0.81114}
    other_scale, exact = own | {"set": "Other", "scale": 2}, own | {"set": "Exact", "psnr_y": None}

    def exported(checkpoint, **changes):
        text = json.dumps(results | {"rows": [results["rows"][0], own, other_scale, exact]} | changes)
        (run / "results.json").write_text(text)
        assert main([f"checkpoint={checkpoint}", "format=safetensors", "output=a.safetensors", "overwrite=true"]) == 0
        return card_of("a.safetensors")

    for checkpoint in (run, best):
        card = exported(checkpoint)
        assert card["figures"] == {"Five": "28.43 / .8111"}
        assert card["weights_sha256"] == sha256(best)
    nearest = exported(run, protocol={"lr_kernel": "nearest"})
    assert nearest["figures"] == {"Five (LR: nearest)": "28.43 / .8111"}
    assert exported(run, split="validation")["figures"] == {}
    save_network(best, seed=2)  # it has trained on
    assert exported(run)["figures"] == {}


@pytest.mark.fault("S16", "results beside a checkpoint")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", {}),
        ('{"rows": 3}', {}),
        ('{"rows": [{"set": ["a"]}, {}], "protocol": []}', {}),
        ("[" * 100_000, {}),
        ('{"rows": [ROW]}', {r"a\nb": "1.00 / .5000"}),
        ('{"rows": [ROW], "protocol": {"lr_kernel": ["x"]}}', {r"a\nb (LR: ['x'])": "1.00 / .5000"}),
    ],
)
def test_results_are_not_trusted(text, expected, tmp_path):
    row = {"set": "a\nb", "scale": 4, "checkpoint_sha256": "0", "psnr_y": 1, "ssim_y": 0.5}
    values = ({"psnr_y": 1e17}, {"psnr_y": "nan"}, {"ssim_y": {}}, {"scale": [4]}, {"scale": True})
    rows = [row, *(row | {"set": "bad"} | value for value in values)]
    (tmp_path / "results.json").write_text(text.replace("ROW", json.dumps(rows)[1:-1]))
    assert known_figures(tmp_path / "checkpoints" / "best.ckpt", "0", 4) == expected
