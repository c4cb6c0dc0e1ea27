"""The command: what the network makes of a photograph, in every size, pass and precision, and on several devices."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.upscaled import network_result, pixels
from sr_lightning.models import EDSR
from sr_lightning.upscale import main
from sr_lightning.upscaling.image_job import Done
from sr_lightning.upscaling.size import Sizing
from sr_lightning.upscaling.sources import Task
from sr_lightning.upscaling.summary import image_line

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def test_a_photo_becomes_what_the_network_makes_of_it(photo, capsys):
    before = photo.read_bytes()
    assert main(["input=photo.png"]) == 0
    difference = np.abs(pixels("photo_x4.png").astype(int) - network_result(photo, 4))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3  # float32 in another order of the sums
    assert photo.read_bytes() == before
    out = capsys.readouterr().out
    assert f"{photo.parent}/photo_x4.png\n  size     120x96 pixels, 0.0115 MP, from 30x24\n" in out
    assert "  network  EDSR x4, weights edsr_tiny_y_x4\n" in out
    assert "dB (agreement of the result, shrunk again, with the input)\n" in out
    assert max(len(line) for line in out.splitlines() if not line.startswith("/")) <= 80


def test_lines_of_large_images_with_long_names_fit_a_terminal(tmp_path):
    task = Task(tmp_path / ("a" * 90 + ".png"), tmp_path / "out.png", "png")
    assert len(image_line(Done(task, (3000, 4000), (12000, 16000), 1234.5, 103.25))) <= 80


@pytest.mark.parametrize("scale", [2, 3])
def test_scale_chooses_the_pretrained_weights(photo, scale):
    assert main(["input=photo.png", f"scale={scale}", "output=big.tif"]) == 0
    assert np.abs(pixels("big.tif").astype(int) - network_result(photo, scale)).max() <= 1


@pytest.mark.parametrize(
    ("overrides", "size", "name"),
    [
        (["outscale=3.5"], (84, 105), "photo_x3.5.png"),
        (["outscale=1.5"], (36, 45), "photo_x1.5.png"),
        (["width=100"], (80, 100), "photo_w100.png"),
        (["height=50"], (50, 63), "photo_h50.png"),
        (["width=70", "height=70"], (70, 70), "photo_70x70.png"),
        (["longest=200"], (160, 200), "photo_l200.png"),
        (["shortest=22"], (22, 28), "photo_s22.png"),
    ],
)
def test_sizes(photo, overrides, size, name):
    """The result resembles the network's, resampled by Pillow."""
    assert main(["input=photo.png", *overrides]) == 0
    assert pixels(name).shape == (*size, 3)
    if size[0] > 96:
        return  # two passes
    made = pixels(photo) if size[0] < 24 else network_result(photo, 2 if overrides == ["outscale=1.5"] else 4)
    expected = Image.fromarray(made).resize(size[::-1], Image.Resampling.BICUBIC)
    difference = pixels(name).astype(int) - np.asarray(expected)
    assert np.abs(difference)[6:-6, 6:-6].mean() < 1


def test_passes_of_the_network():
    assert [Sizing(4, outscale=f).target(10, 10).passes for f in (0.5, 1, 2, 4, 4.1, 16)] == [0, 0, 1, 1, 2, 2]
    assert Sizing(4).target(7, 9).size == (28, 36)


def test_large_images_are_left_alone(folder, capsys):
    assert main(["input=pictures", "output=out", "skip_larger=110"]) == 0
    assert len(os.listdir("out")) == 2
    assert "4 images large enough" in capsys.readouterr().out


def test_self_ensemble_and_back_projection(photo, capsys):
    assert main(["input=photo.png", "output=a.png"]) == 0
    plain = float(capsys.readouterr().out.split("LR-PSNR ")[1].split()[0])
    assert main(["input=photo.png", "output=b.png", "back_projection=2"]) == 0
    assert float(capsys.readouterr().out.split("LR-PSNR ")[1].split()[0]) > plain + 3
    assert main(["input=photo.png", "output=c.png", "self_ensemble=true"]) == 0
    assert 0 < np.abs(pixels("a.png").astype(int) - pixels("c.png")).max() < 80


def test_bf16_differs_by_a_few_levels_and_16_bit_outputs_stay_exact(photo, tmp_path):
    assert main(["input=photo.png", "output=a.png"]) == 0
    assert main(["input=photo.png", "output=b.png", "precision=bf16"]) == 0
    assert 0 < np.abs(pixels("a.png").astype(int) - pixels("b.png")).max() <= 8
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 160).save("wide.png")
    assert main(["input=wide.png", "output=c.png"]) == 0
    assert main(["input=wide.png", "output=d.png", "precision=bf16"]) == 0
    np.testing.assert_array_equal(pixels("c.png"), pixels("d.png"))


def test_devices_share_the_images(folder, capsys):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert main(["input=pictures", "output=out", "scale=2", "device=[cpu,cpu]"]) == 1
    assert len(os.listdir("out")) == 6
    assert main(["input=pictures/img_0.png", "output=alone.png", "scale=2"]) == 0
    np.testing.assert_array_equal(pixels("alone.png"), pixels("out/img_0_x2.png"))


@pytest.fixture
def _as_before():
    from torch._inductor import config

    with config.patch(freezing=False):  # puts back what is set inside
        yield


@pytest.mark.usefixtures("_as_before")
def test_the_network_of_each_device_is_compiled_with_constant_weights(folder, monkeypatch):
    """In its thread, where torch's settings are those of the thread."""
    from torch._inductor import config

    compiled, called = [], []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda net, dynamic: compiled.append(net))
    forward = EDSR.forward
    monkeypatch.setattr(EDSR, "forward", lambda net, x: (called.append((net, config.freezing)), forward(net, x))[1])
    assert main(["input=pictures", "output=out", "scale=2", "device=[cpu,cpu]", "compile=true"]) == 0
    assert len({id(net) for net in compiled}) == 2
    assert {is_frozen for net, is_frozen in called if any(net is one for one in compiled)} == {True}


@pytest.mark.slow
@pytest.mark.usefixtures("_as_before")
def test_a_compiled_network_gives_the_same(photo, image):
    """For images of several sizes, too."""
    Image.fromarray(image(31, 27, 1)).save("other.png")
    assert main(["input=[photo.png,other.png]", "compile=true"]) == 0
    for path in (photo, photo.with_name("other.png")):
        made = pixels(f"{path.stem}_x4.png").astype(int)
        assert np.abs(made - network_result(path, 4)).max() <= 1
