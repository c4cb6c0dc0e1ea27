"""Evaluations of folders and images that are not as one expects, and by several processes."""

import errno
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.evaluations import QUICK, SCORES, mine, only_run, per_image
from sr_lightning.cli import launcher as launch
from sr_lightning.evaluate import main
from sr_lightning.evaluation.scores import gather_scores, summarise
from sr_lightning.inference.predict import super_resolve
from sr_lightning.models import EDSR

pytestmark = pytest.mark.usefixtures("_hydras_logging")
BICUBIC = ["model=bicubic", "scale=2", *QUICK]


@pytest.mark.fault("I3", "each as its RGB image, by its own size")
def test_I3_sizes_and_modes_mixed_in_one_folder(tmp_path, image):
    for name in ("mixed", "plain"):
        (tmp_path / name).mkdir()
    for i, (mode, kind) in enumerate(
        {"L": "png", "RGBA": "png", "1": "png", "P": "png", "CMYK": "tif", "LA": "png"}.items()
    ):
        rgb = Image.fromarray(image(40 + 7 * i, 61 - 5 * i, i))
        saved = rgb.quantize(64) if mode == "P" else rgb.convert(mode)
        saved.save(tmp_path / "mixed" / f"{i}.{kind}")
        saved.convert("RGB").save(tmp_path / "plain" / f"{i}.png")
    wide = image(50, 50, 9)[..., 0]
    Image.fromarray(wide.astype(np.uint16) * 257).save(tmp_path / "mixed" / "6.png")
    Image.fromarray(wide).convert("RGB").save(tmp_path / "plain" / "6.png")
    figures = {}
    for name in ("mixed", "plain"):
        assert main([*BICUBIC, f"+data.test.Mine={tmp_path / name}", "sets=[Mine]", f"hydra.run.dir={name}_run"]) == 0
        figures[name] = [
            (Path(row["name"]).stem, row["psnr_y"], row["ssim_y"]) for row in per_image(Path(f"{name}_run"))
        ]
    assert figures["mixed"] == figures["plain"]
    assert len(figures["mixed"]) == 7


@pytest.mark.fault("I9", "two files, numbered")
@pytest.mark.fault("S8", "in the run's folder, whatever they are made of")
def test_I9_names_that_differ_in_their_ending_only_or_lead_elsewhere(tmp_path, image):
    source = tmp_path / "in"
    source.mkdir()
    names = [
        "a.png",
        "a.jpg",
        "b...png",
        "up..%2f..%2f.png",
        "-rf.png",
        "$(touch canary).png",
        "CON.png",
        "x" * 200 + ".png",
    ]
    for i, name in enumerate(names):
        Image.fromarray(image(40, 40, i)).save(source / name, "JPEG" if name == "a.jpg" else "PNG")
    before = {path for path in tmp_path.rglob("*") if "runs" not in path.parts}
    assert main([*BICUBIC, *mine(source), "save_pictures=true"]) == 0
    saved = [path.name for path in (only_run() / "pictures/bicubic/Mine/x2").iterdir()]
    assert len(saved) == len(names)
    assert sum(name.startswith("a_") for name in saved) == 2
    after = {path for path in tmp_path.rglob("*") if "runs" not in path.parts and "cache" not in path.parts}
    assert after <= before | {tmp_path / "runs"}


@pytest.mark.fault("D1", "an evaluation is refused: a mean over the others would stand under the set's name")
def test_one_bad_image_of_ten(tmp_path, image, capsys):
    source = tmp_path / "in"
    source.mkdir()
    for i in range(10):
        Image.fromarray(image(40, 40, i)).save(source / f"{i}.jpg")
    (source / "4.jpg").write_bytes((source / "4.jpg").read_bytes()[:400])
    assert main([*BICUBIC, *mine(source)]) == 2
    said = capsys.readouterr().err
    assert "4.jpg: " in said
    assert "Traceback" not in said
    assert not list(Path("runs/evaluate").iterdir())


@pytest.mark.fault("I10", "the whole image's result")
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 700), (700, 1), (17, 33), (2, 16)])
@torch.inference_mode()
def test_I10_images_of_extreme_sizes(height, width):
    torch.manual_seed(0)
    net = EDSR(2, n_feats=4, n_resblocks=1).eval()
    lr = torch.rand(1, 3, height, width)
    whole = super_resolve(net, lr, 2)
    assert whole.shape == (1, 3, 2 * height, 2 * width)
    assert (super_resolve(net, lr, 2, tile=16) - whole).abs().max() <= 1e-6


@pytest.mark.fault("P3", "the same bits, each image once")
@pytest.mark.fault("P6", "of images, whoever has scored them")
@pytest.mark.parametrize("n", [1, 2, 3])
def test_P3_the_means_do_not_depend_on_who_has_scored_what(monkeypatch, n):
    in_order = gather_scores(list(SCORES))
    expected = summarise(in_order)
    keys = sorted({score.key for score in SCORES})
    parts = [[score for score in SCORES if keys.index(score.key) % n == rank] for rank in range(n)]

    def gather(everyone, own):
        everyone[:] = parts[::-1]

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: n)
    monkeypatch.setattr("torch.distributed.all_gather_object", gather)
    assert gather_scores(parts[0]) == in_order
    assert summarise(gather_scores(parts[0])) == expected


@pytest.mark.fault("P1", "all are ended, the killed one is named")
@pytest.mark.parametrize("killed", [0, 1, 2])
def test_P1_whichever_process_is_killed(killed):
    """Processes that would wait for ever, as ranks wait for one that is gone."""
    ranks = [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
    try:
        ranks[killed].kill()
        begin = time.monotonic()
        assert launch._first_failure(ranks) == killed
        assert time.monotonic() - begin < 30
        assert all(process.poll() is not None for process in ranks)
    finally:
        for process in ranks:
            process.kill()
            process.wait()


@pytest.mark.fault("T5", "status 1, the file named, nothing that looks finished")
@pytest.mark.parametrize("part", ["predictions.write_png", "results.replacing", "output.write_csv"])
def test_T5_a_disk_that_is_full_during_an_evaluation(part, folder, monkeypatch, capsys):
    def full(path, *arguments):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(f"sr_lightning.evaluation.{part}", full)
    assert main([*BICUBIC, *mine(folder), "save_pictures=true"]) == 1
    said = capsys.readouterr().err
    assert "no space is left to write" in said
    assert "Traceback" not in said
    assert not list(Path("runs").rglob("results.json"))


NETWORKS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def forward(self, x):
        y = nn.functional.interpolate(x, scale_factor=2)
        match self.fault:
            case "tuple":
                return y, x
            case "levels":
                return (y * 255).to(torch.uint8)
            case "size":
                return y[..., 1:]
            case "window":
                return x.reshape(1, 3, -1, 7, 8)
            case "memory":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
"""


@pytest.mark.fault("C12", "status 2, the file and its line named")
@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        ("tuple", 2, "Net: 0.png (21x20 LR pixels) at x2: Net made a tuple; expected a floating-point tensor"),
        ("levels", 2, "Net made a tensor of torch.uint8; expected a floating-point tensor"),
        ("size", 2, "Net made (1, 3, 40, 41) from (1, 3, 20, 21) at x2"),
        ("window", 2, "networks_of_mine.py:21, in forward"),
        ("memory", 1, "0.png (21x20 LR pixels) at x2: not enough memory"),
    ],
)
def test_C12_a_network_of_the_users_own_that_fails(fault, status, said, tmp_path, image, monkeypatch, capsys):
    (tmp_path / "networks_of_mine.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "in").mkdir()
    Image.fromarray(image(40, 42, 0)).save(tmp_path / "in/0.png")
    own = ["+model._target_=networks_of_mine.Net", f"+model.fault={fault}", "scale=2", *QUICK]
    assert main([*own, *mine(tmp_path / "in")]) == status
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
