"""The table that people quote numbers from: methods, sets and scales, checked against references."""

import csv
import json
import re
import shutil
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from helpers.evaluations import QUICK, by_scikit_image, document, mine, only_run, per_image, rows, save_network, table
from helpers.wandb_offline import wandb_records
from sr_lightning.builders.load_network import load_network
from sr_lightning.data.benchmarks.reference import published_rows
from sr_lightning.evaluate import main
from sr_lightning.evaluation import benchmark_check as self_check
from sr_lightning.image.color import read_rgb
from sr_lightning.image.resize import resize
from sr_lightning.inference.cost import multiply_adds
from sr_lightning.models import IMDN
from sr_lightning.weights.pretrained import pretrained_file

pytestmark = pytest.mark.usefixtures("_hydras_logging")

# DESIGN 4, of Set5 by scale, measured with an independent implementation; test_psnr_ssim has Set14.
BICUBIC = {2: (33.673, 0.9303), 3: (30.403, 0.8689), 4: (28.429, 0.8111)}


def test_bicubics_rows_are_those_of_the_design(sr_data, monkeypatch, capsys):
    monkeypatch.setenv("SR_DATA", str(sr_data))
    assert main(["model=bicubic", "scale=[2,3,4]", "sets=[Set5]", *QUICK]) == 0
    out = table(capsys)
    found = rows()
    assert len(found) == len(BICUBIC)
    for scale, (psnr, ssim) in BICUBIC.items():
        row = found["Set5", scale, "bicubic", None]
        assert row["psnr_y"] == pytest.approx(psnr, abs=0.005)
        assert row["ssim_y"] == pytest.approx(ssim, abs=0.0005)
        assert row["images"] == 5
    assert max(map(len, out.splitlines())) <= 80
    for part in ("Set5 x3", "Protocol: Y (BT.601) of 8-bit RGB", "28.43", "published"):
        assert part in out


def test_a_resized_copy_of_a_benchmark_is_refused_and_kept_only_under_another_name(sr_data, tmp_path, capsys):
    copy = tmp_path / "Set5"
    copy.mkdir()
    for path in sorted((sr_data / "test" / "Set5").glob("*.png")):
        image = Image.open(path)
        image.resize((image.width * 9 // 10, image.height * 9 // 10), Image.Resampling.BICUBIC).save(copy / path.name)
    settings = ["model=bicubic", "scale=4", *mine(copy, "Set5"), *QUICK]
    assert main(settings) == 2
    err = capsys.readouterr().err
    assert "Set5" in err
    assert "no table is printed" in err
    assert "Traceback" not in err
    assert list(Path("runs/evaluate").iterdir()) == []
    assert main([*settings, "self_check=false"]) == 0
    out = capsys.readouterr().out
    assert "Set5 (altered) x4" in out
    assert "published" not in out
    assert list(rows()) == [("Set5 (altered)", 4, "bicubic", None)]


def test_a_benchmark_by_another_kernel_is_refused_with_the_kernels_name(sr_data, monkeypatch, capsys):
    monkeypatch.setenv("SR_DATA", str(sr_data))
    assert main(["model=bicubic", "scale=4", "sets=[Set5]", "data.kernel=bilinear", *QUICK]) == 2
    assert "made by matlab_bilinear; the protocol's are matlab_bicubic" in capsys.readouterr().err


def test_a_set_that_only_bears_a_benchmarks_name_is_refused(folder, capsys):
    assert main(["model=bicubic", "scale=4", *mine(folder, "Set5"), *QUICK]) == 2
    assert "data.test.Set5: the images are not those of Set5" in capsys.readouterr().err


def test_figures_are_those_of_the_saved_images_by_scikit_image(folder, tmp_path):
    path = save_network(tmp_path / "run/checkpoints/best.ckpt", scale=3)
    assert main([f"checkpoint={tmp_path}/run", "save_pictures=true", *mine(folder), *QUICK]) == 0
    run = only_run()
    written = per_image()
    assert [row["name"] for row in written] == 2 * [f"img_{i}.png" for i in range(6)]
    assert {(row["method"], row["checkpoint"]) for row in written} == {("bicubic", ""), ("EDSR", str(path))}
    for row in written:
        hr = read_rgb(folder / row["name"])
        hr = hr[: hr.shape[0] // 3 * 3, : hr.shape[1] // 3 * 3]
        sr = read_rgb(run / "pictures" / row["method"] / "Mine" / "x3" / row["name"])
        psnr, ssim = by_scikit_image(sr, hr, 3)
        assert float(row["psnr_y"]) == pytest.approx(psnr, abs=1e-6)
        assert float(row["ssim_y"]) == pytest.approx(ssim, abs=1e-6)
    found = rows()
    assert list(found) == [("Mine", 3, "bicubic", None), ("Mine", 3, "EDSR", str(path))]
    mean = np.mean([float(row["psnr_y"]) for row in written if row["method"] == "EDSR"])
    assert found["Mine", 3, "EDSR", str(path)]["psnr_y"] == pytest.approx(mean)
    assert document()["protocol"]["lr_kernel"] == "matlab_bicubic"


@pytest.mark.fault("I9", "two files, numbered")
def test_ready_made_pairs_and_images_of_the_same_name_in_sub_folders(image, tmp_path):
    for i, sub in enumerate("ab"):
        hr = image(96, 100, i)
        lr = resize(torch.from_numpy(hr).permute(2, 0, 1), Fraction(1, 4)).permute(1, 2, 0).numpy()
        for kind, pixels in (("hr", hr), ("lr", lr)):
            (tmp_path / kind / sub).mkdir(parents=True)
            Image.fromarray(pixels).save(tmp_path / kind / sub / "same.png")
    one = [f"+data.test.A={{hr: {tmp_path}/hr/a, lr: {tmp_path}/lr/a}}", f"+data.test.B={tmp_path}/hr"]
    assert main(["model=bicubic", "scale=4", "sets=[A,B]", "save_pictures=true", *one, *QUICK]) == 0
    a, b, c = per_image()
    assert [(row["set"], row["name"], row["key"]) for row in (a, b, c)] == [
        ("A", "same.png", "0"),
        ("B", "same.png", "0"),
        ("B", "same.png", "1"),
    ]
    assert a["psnr_y"] == b["psnr_y"] != c["psnr_y"]
    assert document()["protocol"]["lr_ready_made"] == ["A"]
    saved = {str(p.relative_to(only_run() / "pictures/bicubic")) for p in only_run().rglob("*.png")}
    assert saved == {"A/x4/same.png", "B/x4/same_0.png", "B/x4/same_1.png"}


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


@dataclass
class Known:
    """As the recognition of a benchmark whose images are not at hand."""

    benchmark: str = "Set5"
    is_exact: bool = True


def test_files_for_papers(folder, tmp_path, monkeypatch):
    row = [replace(published_rows("Set5", 4)[0], method="A_B & C|D", training="291", source="table 1 of 10% <x>")]
    monkeypatch.setattr(self_check, "recognise", lambda paths: Known())
    monkeypatch.setattr(self_check, "comparability_findings", lambda *arguments: [])
    monkeypatch.setattr("sr_lightning.evaluation.summary.published_rows", lambda name, scale: row)
    assert main(["model=bicubic", "scale=4", *mine(folder, "Set5"), *QUICK]) == 0
    run = only_run()
    text = (run / "results.md").read_text()
    assert "| *Set5 x4* | *A\\_B & C\\|D* |" in text
    assert "Protocol: Y (BT.601) of 8-bit RGB" in text
    tex = (run / "results.tex").read_text()
    assert r"\textit{A\_B \& C|D}" in tex
    assert r"\textit{table 1 of 10\% <x>}" in tex
    with (run / "results.csv").open() as file:
        bicubic, other = csv.DictReader(file)
    assert (bicubic["kind"], other["kind"]) == ("baseline", "published")
    assert float(bicubic["psnr_y"]) == rows()["Set5", 4, "bicubic", None]["psnr_y"]
    assert other["source"] == "table 1 of 10% <x>"
    shutil.rmtree("runs")
    assert main(["model=bicubic", "scale=4", *mine(folder, "Set5"), *QUICK, "published=false", "format=[csv]"]) == 0
    assert {p.name for p in only_run().iterdir()} == {
        ".hydra",
        "evaluate.log",
        "per_image.csv",
        "results.csv",
        "results.json",
        ".lock",
    }


def test_metrics_without_weights_say_so_and_the_run_goes_on(folder, tmp_path, capsys):
    path = save_network(tmp_path / "a.ckpt")
    assert main([f"checkpoint={path}", "metrics=[ms_ssim,niqe]", *mine(folder), *QUICK]) == 0
    out = capsys.readouterr().out
    assert "n/a" in out
    assert "niqe: n/a, " in out
    assert "ms_ssim (higher is better): " in out


def test_tiles_and_self_ensemble_are_what_the_network_is_run_with(folder, tmp_path, monkeypatch, capsys):
    from sr_lightning.evaluation import method as inference

    real, asked = inference.super_resolve, []

    def spy(*arguments, **settings):
        asked.append(settings)
        return real(*arguments, **settings)

    monkeypatch.setattr(inference, "super_resolve", spy)
    path = save_network(tmp_path / "a.ckpt")
    assert main([f"checkpoint={path}", "tile=16", "self_ensemble=true", *mine(folder), *QUICK]) == 0
    assert asked.count({"self_ensemble": True, "tile": 16}) == 6
    assert "x8 self-ensemble; tiles of 16 LR pixels" in " ".join(capsys.readouterr().out.split())
    protocol = document()["protocol"]
    assert (protocol["self_ensemble"], protocol["tile"]) == (True, 16)


@pytest.mark.slow
@pytest.mark.fault("P3", "the same bits")
def test_the_same_bits_on_two_processes_each_image_once(folder, tmp_path):
    path = save_network(tmp_path / "a.ckpt")
    Image.fromarray(np.tile(read_rgb(folder / "img_0.png"), (4, 4, 1))).save(folder / "img_6.png")  # many threads' work
    settings = [f"checkpoint={path}", *mine(folder), *QUICK]
    found = []
    for name, devices in (("one", 1), ("two", 2)):
        assert main([*settings, f"devices={devices}", f"hydra.run.dir={name}"]) == 0
        kept = ("psnr_y", "ssim_y", "bicubic_psnr_y", "bicubic_ssim_y", "gain", "name", "method")
        found.append(
            (
                [{key: row[key] for key in kept} for row in per_image(Path(name))],
                {key: (row["psnr_y"], row["ssim_y"], row["images"]) for key, row in rows(Path(name)).items()},
            )
        )
    assert found[0] == found[1]
    assert [row["name"] for row in found[0][0]] == 2 * [f"img_{i}.png" for i in range(7)]


def test_scores_do_not_depend_on_the_number_of_threads():
    from sr_lightning.metrics.psnr_ssim import psnr, ssim

    generator = torch.Generator().manual_seed(0)
    hr = torch.randint(0, 256, (1, 3, 512, 500), generator=generator, dtype=torch.uint8)
    sr = (hr + torch.randn(hr.shape, generator=generator) * 9).clamp(0, 255).to(torch.uint8)
    before, found = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            found.append((psnr(sr, hr, shave=4).item(), ssim(sr, hr, shave=4).item()))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_an_image_that_is_not_finite_has_no_number(broken, folder, tmp_path, monkeypatch, capsys):
    from sr_lightning.evaluation import method as inference

    real = inference.super_resolve
    good, bad = save_network(tmp_path / "good.ckpt"), save_network(tmp_path / "bad.ckpt", n_feats=2)

    def breaks(net, lr, scale, **settings):
        sr = real(net, lr, scale, **settings)
        if sum(p.numel() for p in net.parameters()) < 2000 and lr.shape[-2:] == (25, 24):  # img_1.png, cropped
            sr[0, 0, 50, 50] = broken
        return sr

    monkeypatch.setattr(inference, "super_resolve", breaks)
    assert main([f"checkpoint={{a: {good}, b: {bad}}}", "save_pictures=true", *mine(folder), *QUICK]) == 1
    said = capsys.readouterr()
    what = "b has no row for Mine x4: its output for img_1.png is not finite (NaN or infinity)"
    assert what in said.err
    assert "Traceback" not in said.err
    assert what in " ".join(said.out.split())
    found = document()
    assert [row["method"] for row in found["rows"]] == ["bicubic", "a"]
    assert found["refused"] == [what]
    assert all(np.isfinite(row["psnr_y"]) for row in found["rows"])
    assert {row["method"] for row in per_image()} == {"bicubic", "a"}
    assert not (only_run() / "pictures/b/Mine/x4/img_1.png").exists()


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
        (["model=bicubic", "scale=4", "tile=3"], "tile: found 3, allowed: 16"),
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


def test_an_image_that_both_make_exactly_gains_nothing(tmp_path):
    """inf - inf is no number, and a flat image is no reason for a table without gains."""
    (tmp_path / "flat").mkdir()
    for name in "ab":
        Image.new("RGB", (48, 48), (90, 90, 90)).save(tmp_path / f"flat/{name}.png")
    zero = save_network(tmp_path / "a.ckpt")
    content = torch.load(zero)
    for value in content["state_dict"].values():
        value.zero_()
    torch.save(content, zero)
    assert main([f"checkpoint={zero}", f"+data.test.Flat={tmp_path / 'flat'}", "sets=[Flat]", *QUICK]) == 0
    assert document()["rows"][1]["gain"] == 0
    assert {row["gain"] for row in per_image()} == {"0.0"}
    assert "gives the same as bicubic, on 2 images" in (only_run() / "results.md").read_text()


@pytest.mark.fault("T7", "out of the means, named")
def test_an_exact_image_is_named_and_the_mean_of_the_others_stands_beside(folder, tmp_path, capsys):
    """One flat image made every mean, gain and difference of its set infinite."""
    Image.new("RGB", (96, 96), (90, 90, 90)).save(folder / "flat.png")
    zero = save_network(tmp_path / "zero.ckpt")
    content = torch.load(zero)
    for value in content["state_dict"].values():  # all that is left is the bicubic skip
        value.zero_()
    torch.save(content, zero)
    settings = [*mine(folder), *QUICK]
    assert main([f"checkpoint={{noisy: {save_network(tmp_path / 'a.ckpt')}, zero: {zero}}}", *settings]) == 0
    out = " ".join(capsys.readouterr().out.split())
    found = rows()
    base, noisy = found["Mine", 4, "bicubic", None], found["Mine", 4, "noisy", str(tmp_path / "a.ckpt")]
    figures = [row for row in per_image() if row["method"] == "bicubic"]
    others = np.mean([float(row["psnr_y"]) for row in figures if row["name"] != "flat.png"])
    assert (base["psnr_y"], base["exact_images"]) == (None, ["flat.png"])
    assert base["psnr_y_without_exact"] == pytest.approx(others)
    both = [row for row in per_image() if row["method"] == "noisy" and row["name"] != "flat.png"]
    assert noisy["gain"] == pytest.approx(np.mean([float(row["gain"]) for row in both]))
    assert document()["objective"] == pytest.approx(noisy["gain"])
    (compared,) = [c for c in document()["comparisons"] if c["than"] == "bicubic"]
    assert (compared["mean"], compared["n"]) == (pytest.approx(noisy["gain"]), 6)
    said = "Mine x4, bicubic: 1 of 7 images is identical to HR (infinite PSNR): flat.png; mean of the other 6: "
    assert said + f"{others:.2f} dB" in out
    assert f"inf ({others:.2f})" in out
    run = only_run()
    assert f"inf ({others:.2f})" in (run / "results.md").read_text()
    assert f"inf ({others:.2f})" in (run / "results.tex").read_text()
    with (run / "results.csv").open() as file:
        first = next(csv.DictReader(file))
    assert (first["psnr_y"], first["exact_images"]) == ("inf", "1")
    assert float(first["psnr_y_without_exact"]) == pytest.approx(others)


def test_a_set_too_small_for_any_significance_says_so(folder, tmp_path):
    (folder / "img_5.png").unlink()
    assert main([f"checkpoint={save_network(tmp_path / 'a.ckpt')}", *mine(folder), *QUICK]) == 0
    said = "Mine: over 5 images a sign-flip or Wilcoxon test cannot fall below p = 0.0625"
    assert said in (only_run() / "results.md").read_text()
    (compared,) = document()["comparisons"]
    assert (compared["interval"], compared["n"]) == ("t", 5)
    assert compared["p"] >= 0.0625


def test_a_benchmark_known_by_its_files_only_says_so(folder, capsys):
    assert main(["model=bicubic", "scale=4", f"+data.test.BSD100={folder}", "sets=[BSD100]", *QUICK]) == 2
    assert "the files are not those of BSD100 as `download bsd100` fetches them" in capsys.readouterr().err


def test_a_root_set_to_nothing_is_not_set(monkeypatch, capsys):
    monkeypatch.setenv("SR_DATA", "")
    assert main(["model=bicubic", "scale=4", "sets=[Set5]"]) == 2
    assert "data.test.Set5.hr: data/test/Set5 is not there" in capsys.readouterr().err


def test_the_spreadsheet_holds_figures_only(folder, tmp_path):
    assert main([f"checkpoint={save_network(tmp_path / 'a.ckpt')}", *mine(folder), *QUICK, "metrics=[ms_ssim]"]) == 0
    with (only_run() / "results.csv").open() as file:
        (first, *_) = csv.DictReader(file)
    assert "ms_ssim" in first
    assert "more" not in first
    assert not any("{" in value for value in first.values())


def test_what_eight_passes_cost(folder, tmp_path):
    path = save_network(tmp_path / "a.ckpt")
    assert main([f"checkpoint={path}", *mine(folder), "accelerator=cpu", "self_ensemble=true"]) == 0
    assert document()["rows"][1]["multiply_adds"] == 8 * multiply_adds(load_network(path).net, 4)


def test_sample_needs_no_data_set(capsys):
    assert main(["model=bicubic", "scale=[2]", "data=sample", *QUICK]) == 0
    assert list(rows()) == [("sample_test", 2, "bicubic", None)]


def test_a_preset_for_training_lends_its_test_sets_only(folder):
    settings = ["data=folder", f"+data.test.Mine={folder}", "+data.val.Other=/nowhere", *QUICK]
    assert main(["model=bicubic", "scale=[4]", *settings]) == 0
    assert list(rows()) == [("Mine", 4, "bicubic", None)]


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


def test_evaluations_that_start_in_the_same_second_get_folders_of_their_own(folder, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda *_: "2026-01-01_00-00-00")
    Path("runs/evaluate/2026-01-01_00-00-00").mkdir(parents=True)  # the first one's
    assert main(["model=bicubic", "scale=4", *mine(folder), *QUICK]) == 0
    assert {path.name for path in Path("runs/evaluate").iterdir()} == {"2026-01-01_00-00-00", "2026-01-01_00-00-00_2"}


def test_an_evaluation_in_wandb_and_tensorboard(folder, tmp_path):
    """Job type evaluate; the names that training logs of its test; tables of sets and images, with the images."""
    path = save_network(tmp_path / "a.ckpt")
    assert main([*QUICK, f"checkpoint={{mine: {path}}}", *mine(folder), "logger=all"]) == 0
    run, records = wandb_records(only_run())
    (head,) = records["run"]
    assert (head["job_type"], head["tags"]) == ("evaluate", ["x4", "mine"])
    figures = {key: value for record in records["history"] for key, value in record["item"].items()}
    own, bicubic = (row for row in sorted(document()["rows"], key=lambda row: row["method"] == "bicubic"))
    assert figures["test/Mine/x4/psnr_y"] == pytest.approx(own["psnr_y"])
    assert figures["test/Mine/x4/gain"] == pytest.approx(own["gain"])
    assert figures["test/Mine/x4/bicubic_psnr_y"] == pytest.approx(bicubic["psnr_y"])
    (sets,) = (run / "files/media/table/test").glob("sets*.json")
    assert [row[0] for row in json.loads(sets.read_text())["data"]] == ["bicubic", "mine"]
    (images,) = (run / "files/media/table/test").glob("images*.json")
    images = json.loads(images.read_text())
    assert len(images["data"]) == 6
    assert all(row[-5:] == ["Image"] * 5 for row in images["data"])
    assert list((only_run() / "tensorboard").glob("events*"))


@pytest.mark.gpu
def test_a_gpu_gives_the_cpus_figures(folder, device, record_property):
    """But for the order of sums, which changes the last digits, and now and then a level of the network's image."""
    for path in folder.iterdir():
        Image.fromarray(np.asarray(Image.open(path))[:96, :96]).save(path)
    checkpoint = save_network(Path("a/best.ckpt"))
    found = []
    for where in ("cpu", "gpu" if device.type == "cuda" else "cpu"):
        run = f"on_{where}_{len(found)}"
        given = [f"checkpoint={checkpoint}", *mine(folder), f"hydra.run.dir={run}", "cost=false"]
        assert main([*given, f"accelerator={where}"]) == 0
        found.append(rows(Path(run)))
    for (key, one), other in zip(found[0].items(), found[1].values(), strict=True):
        most = 0 if key[2] == "bicubic" else 1
        record_property(f"{key[2]}, dB", abs(one["psnr_y"] - other["psnr_y"]))
        assert other["psnr_y"] == pytest.approx(one["psnr_y"], abs=0.005 * most + 1e-9)
        assert other["ssim_y"] == pytest.approx(one["ssim_y"], abs=2e-4 * most + 1e-7)
