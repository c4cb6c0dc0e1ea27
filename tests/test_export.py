"""The command, the ONNX file that it writes as a checkpoint, and the script beside it."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.images import make_image
from sr_lightning import load
from sr_lightning.export import main
from sr_lightning.exporters import parity, upscale_onnx
from sr_lightning.files import sha256
from sr_lightning.upscale import main as upscale
from sr_lightning.weights.pretrained import pretrained_file

pytestmark = pytest.mark.usefixtures("_hydras_logging")

WEIGHTS = "edsr_tiny_y_x2"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of an ONNX file and its script, and what the command printed."""
    folder = tmp_path_factory.mktemp("exported")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([f"checkpoint={WEIGHTS}", f"output={folder}", "runner=true"]) == 0
    return folder, out.getvalue()


@pytest.fixture
def model(exported, tmp_path):
    shutil.copy(exported[0] / f"{WEIGHTS}.onnx", tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def test_the_proof_is_printed(exported):
    folder, out = exported
    assert sorted(path.name for path in folder.iterdir()) == [f"{WEIGHTS}.onnx", f"{WEIGHTS}_upscale.py"]
    assert "LR size   images   largest difference" in out
    for height, width in parity.sizes():
        assert f" {width}x{height} " in out
    assert "differs by at most" in out
    assert max(len(line) for line in out.splitlines() if str(folder) not in line) <= 80


def test_the_file_says_what_it_is(model):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the optional extra export")
    session = onnxruntime.InferenceSession(str(model))
    card = json.loads(session.get_modelmeta().custom_metadata_map["sr_lightning_export"])
    assert card["scale"] == 2
    assert card["weights"] == f"{WEIGHTS}.safetensors"
    assert card["weights_sha256"] == sha256(pretrained_file(WEIGHTS))
    assert card["figures"]["Set5"].startswith("37.39")
    assert "works on Y" in card["colour"]
    assert [each.shape for each in session.get_inputs()] == [["batch", 3, "height", "width"]]
    assert [each.shape for each in session.get_outputs()] == [["batch", 3, "2*height", "2*width"]]


@pytest.mark.parametrize("options", [["tile=null"], ["tile=32"], ["self_ensemble=true"]])
def test_upscale_takes_the_file_as_a_checkpoint(model, options, capsys):
    Image.fromarray(make_image(50, 70, 0)).save("photo.png")
    assert upscale(["input=photo.png", f"checkpoint={model}", "output=a.png", *options]) == 0
    assert upscale(["input=photo.png", f"checkpoint={WEIGHTS}", "output=b.png", *options]) == 0
    assert np.abs(pixels("a.png") - pixels("b.png")).max() <= 1
    assert (pixels("a.png") != pixels("b.png")).mean() < 1e-3
    assert "LR-PSNR" in capsys.readouterr().out


def test_load_takes_the_file(model):
    net = load(model)
    x = torch.rand(1, 3, 9, 11)
    assert net.scale == 2
    assert net(x).shape == (1, 3, 18, 22)


def test_the_script_runs_without_torch_and_this_package(exported, tmp_path):
    folder, _ = exported
    Image.fromarray(make_image(90, 70, 0)).save(tmp_path / "photo.png")
    script = str(folder / f"{WEIGHTS}_upscale.py")
    code = (
        "import runpy, sys; sys.modules.update(dict.fromkeys(['torch', 'sr_lightning', 'onnx', 'scipy']))\n"
        f"sys.argv[0] = {script!r}; runpy.run_path({script!r}, run_name='__main__')"
    )
    command = [sys.executable, "-W", "error", "-c", code, "photo.png", "--tile", "40"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "photo.png 70x90 -> photo_x2.png 140x180" in done.stdout
    assert upscale(["input=photo.png", f"checkpoint={WEIGHTS}", "output=b.png"]) == 0
    assert np.abs(pixels("photo_x2.png") - pixels("b.png")).max() <= 1


def images():
    rgb = make_image(60, 70, 1)
    alpha = np.zeros((60, 70), np.uint8)
    alpha[:, 10:20] = 128
    alpha[:, 20:] = 255
    return {
        "RGB": Image.fromarray(rgb),
        "L": Image.fromarray(rgb[..., 0]),
        "1": Image.fromarray(rgb[..., 0]).convert("1"),
        "P": Image.fromarray(rgb).quantize(8),
        "RGBA": Image.fromarray(np.dstack([rgb, alpha])),
        "LA": Image.fromarray(np.dstack([rgb[..., 0], alpha])),
        "I;16": Image.fromarray(rgb[..., 0].astype(np.uint16) * 257),
        "CMYK": Image.fromarray(rgb).convert("CMYK"),
    }


@pytest.mark.parametrize("kind", images())
def test_the_script_keeps_grey_alpha_and_depth_as_upscale_does(kind, model):
    name = "a.tif" if kind == "CMYK" else "a.png"
    images()[kind].save(name)
    assert upscale_onnx.main([name, "b.png", "--model", str(model)]) == 0
    assert upscale([f"input={name}", f"checkpoint={WEIGHTS}", "output=c.png"]) == 0
    made, expected = pixels("b.png"), pixels("c.png")
    assert made.shape == expected.shape
    levels = 257 if kind == "I;16" else 1
    if kind in ("RGBA", "LA"):  # colours are spread in another way into the ten columns where nothing is seen of them
        assert np.abs(made[..., -1] - expected[..., -1]).max() <= 1
        assert made[:, :16, -1].max() == 0
        assert made[:, 46:, -1].min() == 255
        made, expected = made[:, 60:], expected[:, 60:]
    assert np.abs(made - expected).max() <= levels


@torch.no_grad()
def test_the_scripts_tiles_give_the_whole_images_result(model, tmp_path):
    Image.fromarray(make_image(90, 130, 2)).save("a.png")
    for tile in (0, 16, 41):
        assert upscale_onnx.main(["a.png", f"{tile}.png", "--model", str(model), "--tile", str(tile)]) == 0
    assert np.abs(pixels("0.png") - pixels("16.png")).max() <= 1
    assert np.abs(pixels("0.png") - pixels("41.png")).max() <= 1
    assert (pixels("0.png") != pixels("16.png")).mean() < 1e-3


def test_the_script_refuses_what_would_destroy_or_fail(model, tmp_path, capsys):
    image = Image.fromarray(make_image(20, 24, 0))
    image.save("a.png")
    Image.new("RGB", (9, 9)).save("b.gif", save_all=True, append_images=[Image.new("RGB", (9, 9), "red")])
    Path("c.png").write_text("no image")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for arguments, said in (
        (["a.png", "a.png"], "a.png would be overwritten by its own result"),
        (["a.png", "a.png", "--overwrite"], "a.png would be overwritten by its own result"),
        (["a.png", "c.png"], "c.png is there; allowed: another output, or --overwrite"),
        (["a.png", "d.xyz"], "d.xyz: allowed: a name that ends in .png"),
        (["a.png", "no/d.png"], "no is not there"),
        (["b.gif"], "b.gif has several frames; allowed: one"),
        (["c.png"], "c.png cannot be read as an image"),
        (["d.png"], "d.png is not there"),
        (["a.png", "--model", "no.onnx"], "no.onnx is not there; allowed: --model <file>.onnx"),
        (["a.png", "--model", "c.png"], "c.png cannot be loaded"),
    ):
        assert upscale_onnx.main(["--model", str(model), *arguments]) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        upscale_onnx.main(["a.png", "--tile", "3"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert upscale_onnx.main(["a.png", "c.jpg", "--model", str(model)]) == 0
    assert pixels("c.jpg").shape == (40, 48, 3)


def relabelled(model, path, **changes):
    """The file with another description of itself."""
    import onnx

    made = onnx.load(model)
    card = json.loads(made.metadata_props[0].value) | changes
    onnx.helper.set_model_props(made, {made.metadata_props[0].key: json.dumps(card)})
    onnx.save(made, path)


@pytest.mark.fault("S17", "refused in one line, no image is written")
@pytest.mark.parametrize(
    "changes",
    [{"scale": 4}, {"scale": 3}, {"scale": 0}, {"scale": 10**9}, {"tile_step": 0}, {"tile_margin": -5}, {"scale": "x"}],
)
def test_a_file_that_lies_about_itself(model, changes, tmp_path, capsys):
    Image.fromarray(make_image(20, 24, 0)).save("a.png")
    relabelled(model, "lie.onnx", **changes)
    assert upscale_onnx.main(["a.png", "b.png", "--model", "lie.onnx"]) == 2
    assert upscale(["input=a.png", "checkpoint=lie.onnx", "output=b.png"]) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err
    assert not Path("b.png").exists()


@pytest.mark.fault("D3", "refused; a pipe is not waited for")
def test_the_script_reads_neither_pipes_nor_values_of_32_bits(model, capsys):
    os.mkfifo("pipe.png")
    Image.new("F", (9, 9)).save("f.tif")
    for name, said in (("pipe.png", "pipe.png is no file"), ("f.tif", "f.tif has values of 32 bits")):
        assert upscale_onnx.main([name, "b.png", "--model", str(model)]) == 2
        assert said in capsys.readouterr().err
