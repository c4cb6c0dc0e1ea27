"""The networks of an evaluation: checkpoints, runs, sweeps and bare files; and their names in the table."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers.evaluations import QUICK, document, mine, only_run, rows, save_network, table
from sr_lightning.evaluate import main
from sr_lightning.models import IMDN
from sr_lightning.weights.pretrained import pretrained_file

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def test_checkpoints_of_one_network_have_the_names_of_their_runs_and_seeds_are_one_method(folder, tmp_path, capsys):
    for seed in (1, 2, 3):
        save_network(tmp_path / f"seeds/{seed}.ckpt", seed=seed)
    save_network(tmp_path / "narrow/checkpoints/best.ckpt", n_feats=2)
    save_network(tmp_path / "double/checkpoints/best.ckpt", scale=2)
    files = [tmp_path / "narrow", *(tmp_path / f"seeds/{seed}.ckpt" for seed in (1, 2, 3)), tmp_path / "double"]
    listed = ",".join(map(str, files))
    assert main([f"checkpoint=[{listed}]", *mine(folder), "accelerator=cpu"]) == 0
    found = document()
    labels = [(r["scale"], r["method"], r.get("seed")) for r in found["rows"]]
    assert labels == [
        (2, "bicubic", None),
        (2, "EDSR", 1),
        (4, "bicubic", None),
        (4, "EDSR (narrow)", 1),
        (4, "EDSR (1)", 1),
        (4, "EDSR (1)", 2),
        (4, "EDSR (1)", 3),
    ]
    values = [r["psnr_y"] for r in found["rows"] if r["method"] == "EDSR (1)"]
    (spread,) = found["seeds"]
    assert spread["method"] == "EDSR (1) (3 seeds)"
    assert spread["psnr_y"] == pytest.approx(np.mean(values))
    assert spread["psnr_y_std"] == pytest.approx(np.std(values, ddof=1))
    out = table(capsys)
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"EDSR \(1\) \(3 seeds\) +\d\d\.\d\d±\d\.\d\d", out), out
    compared = {(c["scale"], c["method"], c["than"]): c for c in found["comparisons"]}
    assert list(compared) == [
        (2, "EDSR", "bicubic"),
        (4, "EDSR (narrow)", "EDSR (1)"),
        (4, "EDSR (narrow)", "bicubic"),
    ]
    means = {r["method"]: r["psnr_y"] for r in found["rows"] if r["scale"] == 4} | {"EDSR (1)": np.mean(values)}
    difference = compared[4, "EDSR (narrow)", "EDSR (1)"]
    assert difference["mean"] == pytest.approx(means["EDSR (narrow)"] - means["EDSR (1)"])
    assert difference["low"] < difference["mean"] < difference["high"]
    assert difference["n"] == 6


def test_no_two_methods_share_a_name(tmp_path):
    from sr_lightning.builders.methods import build_methods

    files = ["a/0/checkpoints/best.ckpt", "a/0/checkpoints/last.ckpt", "b/0/checkpoints/best.ckpt", "plain.ckpt"]
    paths = [str(save_network(tmp_path / name, n_feats=4 if name[0] == "a" else 2)) for name in files]
    config = SimpleNamespace(checkpoint=dict.fromkeys(paths, ""), model=None, scale=[], self_ensemble=False, tile=None)
    labels = [method.label for method in build_methods(config)]
    assert labels == [f"EDSR ({paths[0]})", "EDSR (0/last)", f"EDSR ({paths[2]})", "EDSR (plain)"]


def test_names_for_the_table_and_what_may_stand_in_a_file_name(folder, tmp_path):
    odd = save_network(tmp_path / "a b,c=[d].ckpt")
    other = save_network(tmp_path / "other.ckpt", seed=2)
    assert main([f"checkpoint={{first: '{odd}', second: {other}}}", *mine(folder), *QUICK]) == 0
    assert [key[2] for key in rows()] == ["bicubic", "first", "second"]
    assert (only_run() / "results.json").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("body.0.body.2.weight"), "missing (1): body.0.body.2.weight"),
        (lambda state: state.update({"extra.weight": torch.zeros(3)}), "unexpected (1): extra.weight"),
        (
            lambda state: state.update({"body.0.body.2.weight": torch.zeros(7)}),
            "body.0.body.2.weight (7,), the network",
        ),
    ],
)
def test_a_bare_file_that_nearly_fits_names_the_key_and_the_config(change, said, folder, tmp_path, capsys):
    state = load_file(pretrained_file("edsr_tiny_y_x4"))
    change(state)
    torch.save(state, tmp_path / "nearly.pth")
    assert main([f"checkpoint={tmp_path / 'nearly.pth'}", *mine(folder), *QUICK]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "of ours model=edsr_tiny_y scale=4 is nearest" in err


def test_evaluation_reads_and_checksums_a_checkpoint_once(folder, tmp_path, monkeypatch):
    from sr_lightning.checkpoints import plain_data

    path, read = save_network(tmp_path / "a.ckpt"), []
    for part, name in ((plain_data, "read_trailer"), (torch, "load")):
        original = getattr(part, name)
        monkeypatch.setattr(part, name, lambda *a, f=original, n=name, **k: (read.append(n), f(*a, **k))[1])
    assert main([f"checkpoint={path}", *mine(folder), *QUICK]) == 0
    assert read == ["read_trailer", "load"]


def test_pretrained_weights_are_weights_of_a_typed_model_too(folder):
    typed = ["model=edsr_tiny_y", "scale=4", "model.weights=edsr_tiny_y_x4"]
    assert main([*typed, *mine(folder), *QUICK, "hydra.run.dir=typed"]) == 0
    assert main(["checkpoint=edsr_tiny_y_x4", *mine(folder), *QUICK, "hydra.run.dir=named"]) == 0
    a, b = (document(Path(name))["rows"][1]["psnr_y"] for name in ("typed", "named"))
    assert a == b


def test_a_sweeps_folder_stands_for_its_best_job_and_is_said(folder, tmp_path):
    for job, objective in enumerate((0.5, 1.5, None)):
        save_network(tmp_path / f"sweep/{job}/checkpoints/best.ckpt", seed=job)
        (tmp_path / f"sweep/{job}/results.json").write_text(json.dumps({"objective": objective}))
    assert main([f"checkpoint={tmp_path}/sweep", *mine(folder), *QUICK]) == 0
    best = f"{tmp_path}/sweep/1/checkpoints/best.ckpt"
    assert document()["rows"][1]["checkpoint"] == best
    assert f"EDSR: {best}" in (only_run() / "evaluate.log").read_text()


def test_a_bare_file_of_weights_is_given_the_network_that_it_fits(folder, tmp_path):
    """As released files come: the network is found by names and shapes, and scores as the same one in a checkpoint."""
    torch.manual_seed(1)
    net = IMDN(4, n_feats=16, n_blocks=2)
    torch.save(net.state_dict(), tmp_path / "released.pth")
    model = {"_target_": "sr_lightning.models.IMDN", "scale": 4, "n_feats": 16, "n_blocks": 2}
    stored = {"model": model, "scale": [4], "seed": 1, "data": {"train_dir": []}}
    state = {f"net.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state, "sr_lightning": {"format": 1, "config": stored}}, tmp_path / "ours.ckpt")
    files = f"checkpoint={{bare: {tmp_path / 'released.pth'}, whole: {tmp_path / 'ours.ckpt'}}}"
    assert main([files, *mine(folder), *QUICK]) == 0
    found = {row["method"]: row["psnr_y"] for row in document()["rows"]}
    assert found["bare"] == found["whole"] != found["bicubic"]
