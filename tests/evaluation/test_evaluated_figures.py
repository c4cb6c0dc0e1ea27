"""The figures of an evaluation: against scikit-image, by tiles, threads, processes and a GPU; infinite ones and NaN."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.evaluations import QUICK, by_scikit_image, document, mine, only_run, per_image, rows, save_network
from sr_lightning.builders.load_network import load_network
from sr_lightning.evaluate import main
from sr_lightning.evaluation.significance import Difference
from sr_lightning.evaluation.summary import Comparison
from sr_lightning.image.color import read_rgb
from sr_lightning.inference.cost import multiply_adds

pytestmark = pytest.mark.usefixtures("_hydras_logging")


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


def test_a_set_too_small_for_any_significance_says_so_where_two_methods_differ(folder, tmp_path):
    (folder / "img_5.png").unlink()
    noisy, zero = save_network(tmp_path / "a.ckpt"), save_network(tmp_path / "zero.ckpt")
    content = torch.load(zero)
    for value in content["state_dict"].values():  # all that is left is the bicubic skip
        value.zero_()
    torch.save(content, zero)
    said = "(6 images are the least that can show a significant difference; Mine has 5)"
    assert main([f"checkpoint={noisy}", *mine(folder), *QUICK, "hydra.run.dir=one"]) == 0
    assert said not in Path("one/results.md").read_text()
    (compared,) = document(Path("one"))["comparisons"]
    assert (compared["interval"], compared["n"]) == ("t", 5)
    assert compared["p"] >= 0.0625
    assert main([f"checkpoint={{zero: {zero}, noisy: {noisy}}}", *mine(folder), *QUICK, "hydra.run.dir=two"]) == 0
    text = Path("two/results.md").read_text()
    assert "zero is better than noisy by" in text
    assert text.count(said) == 1


def test_a_difference_that_may_be_none_claims_nothing():
    found = Comparison("Mine", 2, "Net", "bicubic", Difference(-6.95, -23.71, 9.82, 5, 0.95, "t"))
    assert str(found) == (
        "Mine x2: Net is 6.95 dB below bicubic [-9.82, 23.71] (95 %, 5 images), but the interval contains 0: "
        "not significant"
    )


def test_what_eight_passes_cost(folder, tmp_path):
    path = save_network(tmp_path / "a.ckpt")
    assert main([f"checkpoint={path}", *mine(folder), "accelerator=cpu", "self_ensemble=true"]) == 0
    assert document()["rows"][1]["multiply_adds"] == 8 * multiply_adds(load_network(path).net, 4)


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
