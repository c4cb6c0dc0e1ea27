"""The images on the page of `compare`: made by the runs' networks, or left out with the reason."""

import base64
import io
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from helpers.evaluations import QUICK, by_scikit_image, only_run, per_image, save_network
from helpers.run_folders import data_of, make_run
from sr_lightning.compare import main
from sr_lightning.evaluate import main as evaluate
from sr_lightning.train import main as train

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def pixels(url):
    head, _, content = url.partition(";base64,")
    assert head == "data:image/webp"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def _made_once(tmp_path_factory):
    return tmp_path_factory.mktemp("made") / "trained"


@pytest.fixture
def trained(tmp_path, folder, _made_once):
    """Two runs with real checkpoints, scored by `evaluate`: made by the first test, copied by the others."""
    if _made_once.exists():
        shutil.copytree(_made_once, tmp_path, dirs_exist_ok=True)
        return tmp_path / "runs"
    test = folder.name  # all paths are relative, so that they hold in the folder of each test
    for i in (1, 2):
        checkpoint = save_network(Path(f"runs/{i}/checkpoints/best.ckpt"), seed=i)
        assert evaluate([f"checkpoint={checkpoint}", f"+data.test.Mine={test}", "sets=[Mine]", *QUICK]) == 0
        run = only_run()
        figures = {"psnr_y", "ssim_y", "bicubic_psnr_y", "bicubic_ssim_y", "gain"}
        rows = [{k: float(v) if k in figures else v for k, v in row.items()} for row in per_image(run)]
        for row in rows:
            row |= {"checkpoint": "checkpoints/best.ckpt", "key": int(row["key"]), "scale": int(row["scale"])}
        run.rename(f"evaluation{i}")
        section = {"kernel": "bicubic", "test": {"Mine": test}}
        make_run(tmp_path / f"runs/{i}", images=rows, beta=float(i), config={"data": section})
    shutil.copytree(tmp_path, _made_once)
    return tmp_path / "runs"


def test_the_page_shows_what_the_networks_make(trained, folder, tmp_path, capsys):
    assert main(["runs=runs", "output=out", "plots=false", "max_images=4", "device=cpu"]) == 0
    (group,) = data_of(tmp_path / "out/compare.html")["groups"]
    assert len(group["images"]) == 4
    for image in group["images"]:
        hr, *others = map(pixels, image["src"])
        with Image.open(folder / image["name"]) as file:
            height, width = (side // 4 * 4 for side in np.asarray(file).shape[:2])
            assert (hr == np.asarray(file)[:height, :width]).all()
        for made, text in zip(others, image["figures"][1:], strict=True):
            psnr, ssim = by_scikit_image(made, hr, 4)
            assert text == f"{psnr:.2f} dB / {ssim:.4f}"
    assert "the whole image" in group["images"][0]["note"]


def test_images_that_changed_or_vanished_are_not_shown(trained, folder, tmp_path, capsys):
    for path in folder.iterdir():
        with Image.open(path) as image:
            pixels = 255 - np.asarray(image)
        Image.fromarray(pixels // 2).save(path)
    assert main(["runs=runs", "output=out", "plots=false", "device=cpu"]) == 0
    assert "has changed since it was scored" in capsys.readouterr().out
    for path in folder.iterdir():
        path.unlink()
    assert main(["runs=runs", "output=out", "plots=false", "device=cpu"]) == 0
    assert "no images of Mine x4" in capsys.readouterr().out
    data = data_of(tmp_path / "out/compare.html")
    assert "images=true" in data["images_note"]
    assert data["groups"][0]["images"] == []


WRONG_DATA = [
    ({"degradation": {"_target_": "os.mkdir", "path": "bad"}}, "third-party"),
    ({"degradation": {"_target_": "torch.nn.ReLU"}}, "ReLU is no degradation"),
    ({"kernel": ["x"]}, "data.kernel: found"),
    ({"extensions": [1]}, "allowed: names"),
    ({"test": {"Mine": 3}}, "data.test.Mine: found 3"),
    ({"test": "Mine"}, "is not a folder"),
]


def test_a_saved_config_of_any_content_is_survived(trained, tmp_path, capsys):
    path = trained / "1/.hydra/config.yaml"
    config = yaml.safe_load(path.read_text())
    for data, said in WRONG_DATA:
        path.write_text(yaml.safe_dump(config | {"data": config["data"] | data}))
        assert main(["runs=runs/1", "output=out", "plots=false", "device=cpu"]) == 0
        assert said in capsys.readouterr().out
    assert not Path("bad").exists()


def test_an_evaluation_and_a_run_stand_on_one_page(trained, tmp_path):
    assert main(["runs=[evaluation1,runs/2]", "output=out", "plots=false", "max_images=2", "device=cpu"]) == 0
    (group,) = data_of(tmp_path / "out/compare.html")["groups"]
    assert group["methods"][:2] == ["HR", "bicubic"]
    assert len(group["methods"]) == 4
    assert all(None not in image["src"] for image in group["images"])


def test_an_evaluation_of_two_methods_is_named_after_them(tmp_path, folder):
    saved = [save_network(tmp_path / f"{i}.ckpt", seed=i) for i in (1, 2)]
    methods = f"checkpoint={{mine: {saved[0]}, theirs: {saved[1]}}}"
    assert evaluate([methods, f"+data.test.Mine={folder}", "sets=[Mine]", *QUICK]) == 0
    assert main([f"runs={only_run()}", "output=out", "plots=false", "max_images=1", "device=cpu"]) == 0
    assert data_of(tmp_path / "out/compare.html")["title"] in (
        "Comparison of mine, theirs",
        "Comparison of theirs, mine",
    )


@pytest.fixture
def held_out(tiny, folder, monkeypatch):
    """A run without a set to validate on: since then an image was added, so that others would be held out now.

    A bad file was left out, and the LR images are ready-made.
    """
    lr = Path("small/X4")
    lr.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            image.resize((image.width // 4, image.height // 4), Image.Resampling.BICUBIC).save(lr / path.name)
    for bad in (folder / "bad.png", lr / "bad.png"):
        bad.write_text("no image")
    short = [
        "trainer.max_steps=1",
        "trainer.val_check_interval=1",
        "data.on_bad_image=skip",
        "data.train_lr_dir=small/X{scale}",
    ]
    assert train([*tiny, *short, "hydra.run.dir=a"]) == 0
    for path in (folder, lr):
        shutil.copy(path / "img_0.png", path / "img_00.png")
    return folder


def test_held_out_images_are_found_again_by_their_names(held_out, capsys):
    assert main(["runs=a", "output=out", "plots=false", "device=cpu"]) == 0
    (group,) = data_of(Path("out/compare.html"))["groups"]
    assert sorted(image["name"] for image in group["images"]) == sorted(row["name"] for row in per_image(Path("a")))
    assert all(None not in image["src"] for image in group["images"])
    held_out.rename("moved")
    capsys.readouterr()
    assert main(["runs=a", "output=out", "plots=false", "device=cpu"]) == 0
    (note,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("no images of heldout")]
    assert "held out of data.train_dir" in note
    assert f"(data.train_dir: {held_out} is not a folder)" in note


OWN_NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, scale, gain):
        super().__init__()
        self.scale, self.weight = scale, nn.Parameter(torch.tensor(gain))

    def forward(self, x):
        return self.weight * nn.functional.interpolate(x, scale_factor=self.scale)
"""


def test_a_network_of_ones_own_is_shown_by_the_line_that_is_told(trained, folder, tmp_path, monkeypatch, capsys):
    """Nothing is run because a file names it; classes of sections that are not built do not matter at all."""
    (tmp_path / "own_net.py").write_text(OWN_NET)
    monkeypatch.syspath_prepend(tmp_path)
    path = trained / "1/.hydra/config.yaml"
    config = yaml.safe_load(path.read_text())
    section = {"_target_": "own_net.Net", "scale": "${scale}", "gain": 0.5}
    path.write_text(
        yaml.safe_dump(config | {"model": section, "callbacks": {"mine": {"_target_": "own_net.Callback"}}})
    )
    stored = {"model": section | {"scale": 4}, "scale": [4], "seed": 1, "data": {"train_dir": ["/x/T91"]}}
    state = {"state_dict": {"net.weight": torch.tensor(0.5)}, "sr_lightning": {"format": 1, "config": stored}}
    torch.save(state, trained / "1/checkpoints/best.ckpt")
    assert main(["runs=runs/1", "output=out", "plots=false", "device=cpu"]) == 0
    assert "own_net" not in sys.modules
    line = capsys.readouterr().out.partition("named in runs, too: ")[2].splitlines()[0]
    typed = shlex.split(line)
    assert typed[:4] == ["python", "-m", "sr_lightning.evaluate", "checkpoint=runs/1"]
    assert evaluate([*typed[3:], *QUICK]) == 0
    run = only_run()
    monkeypatch.delitem(sys.modules, "own_net")
    assert main([f"runs=[runs/2,{run}]", "output=out", "plots=false", "device=cpu"]) == 0
    assert "own_net" not in sys.modules
    (group,) = data_of(tmp_path / "out/compare.html")["groups"]
    assert len(group["methods"]) == 4
    assert all(None not in image["src"] for image in group["images"])
