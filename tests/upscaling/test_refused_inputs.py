"""What `upscale` refuses: mistakes in what is typed, broken files, animations, sizes that no file can hold."""

import os
import subprocess
import sys

import pytest
from PIL import Image

from sr_lightning.inference import upscaler as upscaler_module
from sr_lightning.upscale import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


@pytest.mark.fault("I8", "nine outputs, the tenth named, status 1")
def test_one_bad_file_of_ten(folder, image, capsys):
    for i in range(6, 9):
        Image.fromarray(image(20, 20, i)).save(folder / f"img_{i}.png")
    data = (folder / "img_4.png").read_bytes()
    (folder / "broken.png").write_bytes(data[: len(data) // 2])
    assert main(["input=pictures", "output=out", "scale=2"]) == 1
    captured = capsys.readouterr()
    assert len(list((folder.parent / "out").iterdir())) == 9
    assert "pictures/broken.png: cannot be decoded" in captured.out
    assert "1 of 10 images failed" in captured.err


def test_an_animation_is_refused(folder, capsys):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:])
    assert main(["input=a.gif"]) == 2
    assert "a.gif: has 2 frames; allowed: one" in capsys.readouterr().err
    assert main(["input=[a.gif,pictures/img_0.png]", "output=out", "scale=2"]) == 1
    assert os.listdir("out") == ["img_0_x2.png"]


@pytest.mark.fault("I2", "refused before the work")
def test_a_size_that_the_format_cannot_hold_is_refused_before_the_work(tmp_path, monkeypatch, capsys):
    Image.new("RGB", (5000, 2)).save("long.png")
    monkeypatch.setattr(upscaler_module.Upscaler, "rows", None)
    assert main(["input=long.png", "format=webp"]) == 2
    assert "long.png: would be 20000x8, but WEBP holds up to 16383" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["input=nothing.png"], "input: nothing.png is not there"),
        (["input=empty"], "input: empty holds no image"),
        (["input=photo.png", "scale=5"], "scale: found 5, allowed: one of 2, 3, 4, 8"),
        (["input=photo.png", "scale=2.5"], "2, 3, 4, 8, or null (of the network); outscale=2.5 sets any factor"),
        (["input=photo.png", "scale=x"], "scale: found 'x', allowed: one of 2, 3, 4, 8"),
        (["input=photo.png", "scale=8"], "scale: found 8 without a checkpoint"),
        (["input=photo.png", "checkpoint=edsr_tiny_y_x9"], "did you mean 'edsr_tiny_y_x"),
        (["input=photo.png", "checkpoint=edsr_tiny_y_x2", "scale=4"], "is for x2"),
        (["input=photo.png", "width=100", "longest=5"], "width, longest: allowed: one of them"),
        (["input=photo.png", "outscale=0"], "outscale: found 0"),
        (["input=photo.png", "format=bmp"], "format: found 'bmp'"),
        (["input=photo.png", "quality=101"], "quality: found 101"),
        (["input=photo.png", "device=tpu"], "device: found 'tpu'"),
        (["input=photo.png", "device=cuda:77"], "device: found cuda:77, but this machine has"),
        (
            ["input=photo.png", "tile=1"],
            "tile: found 1, allowed: auto, null, or a whole number of at least 16 (LR pixels)",
        ),
        (["input=photo.png", "metadata=some"], "metadata: found 'some'"),
        (["input=photo.png", "outscale=17"], "outscale: found 17, allowed: up to 16 (a network for x4, twice)"),
        (["input=photo.png", "outscale=10", "scale=3"], "outscale: found 10, allowed: up to 9"),
        (["input=photo.png", "width=900"], "photo.png: 30x24 to 900x720 is x30; allowed: up to x16"),
        (["input=photo.png", "output=a.bmp"], "output: a.bmp: .bmp files are not written; allowed: .png, .jpg"),
        (["input=photo.png", "output=photo.png/x"], "photo.png is no folder; allowed: another output"),
        (["input=photo.png", "output=other.png/"], "other.png is no folder"),
        (["input=photo.png", "output=/dev/full"], "output: /dev/full is no folder"),
        (["input=photo.png", "output=/proc/x"], "output: cannot write into /proc: "),
        (["input=photo.png", "output=pipe.png", "overwrite=true"], "pipe.png is there, and no file"),
        (["input=photo.png", "quality=lossless", "output=a.jpg"], "quality: found lossless with JPEG"),
        (["input=photo.png", "quality=90"], "quality: found 90, but PNG is lossless"),
        (["input=photo.png", "output=a.jpg", "format=png"], "output: a.jpg is a JPEG file"),
        (["input=[photo.png,empty/../photo.png,other.png]", "output=a.jpg"], "one file for 2 images"),
        (["input=photo.png", "tpye=png"], "tpye: no such key"),
        (["input=model.onnx", "checkpoint=model.onnx"], "model.onnx"),
    ],
)
def test_what_is_wrong_is_said_in_one_message(photo, capsys, overrides, message):
    (photo.parent / "empty").mkdir()
    (photo.parent / "other.png").write_bytes(photo.read_bytes())
    os.mkfifo("pipe.png")
    assert main(overrides) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert ("loading torch" in captured.out) == ("this machine has" in message)  # only torch knows the devices
    assert sorted(os.listdir()) == ["empty", "other.png", "photo.png", "pipe.png"]


def test_what_is_allowed_is_listed_once(photo, capsys):
    assert main(["epochs=3", "gpus=1", "scal=2", "bla=1"]) == 2
    _, epochs, gpus, scal, bla = map(str.strip, capsys.readouterr().err.splitlines())
    assert epochs.startswith("epochs: no such key; allowed: back_projection, checkpoint, compile, device, ")
    assert gpus == "gpus: no such key; did you mean 'device'? (cuda, or cuda:1 for the second)"
    assert [scal, bla] == ["scal: no such key; did you mean 'scale'?", "bla: no such key; allowed: the same"]


def test_a_wrong_input_is_answered_without_torch(photo):
    code = (
        "import sys; from sr_lightning.upscale import main\n"
        "for typed in (['input=none.png'], ['input=photo.png', 'output=/proc/x'], ['input=photo.png', 'width=900'],\n"
        "              ['input=photo.png', 'output=a.bmp'], ['input=photo.png', 'format=webp', 'width=20000']):\n"
        "    assert main(typed) == 2, typed\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_names_of_files_cannot_steer_the_terminal(photo, capsys):
    """Neither those that are enlarged, nor those that fail, nor where the results lie."""
    steering = "a\n\x1b[31mb\u202e\r"
    hostile = photo.parent / steering
    hostile.mkdir()
    for name in ("good", "bad"):
        (hostile / f"{name}{steering}.png").write_bytes(photo.read_bytes() if name == "good" else b"junk")
    commands = (
        [f"input={hostile}", f"output={hostile / 'out'}"],
        [f"input={hostile}/good*", f"output={hostile}/one/"],
        [f"input={hostile}/nothing"],
        [f"input={hostile}/bad*"],
        [f"input={hostile}/good*", f"output={hostile}.bmp"],
        [f"input={hostile}/good*", f"output={hostile}/bad{steering}.png/"],
        [f"input=[{photo},{photo}]", f"output={hostile}/good{steering}.png"],
    )
    statuses = [main(command) for command in commands]
    captured = capsys.readouterr()
    assert statuses == [1, 0, 2, 2, 2, 2, 2]
    said = captured.out + captured.err
    assert not set(said) & set("\x1b\u202e\r")
    assert "a\\n\\x1b[31mb\\u202e\\r" in said
    assert not any(line.startswith("\\x1b") for line in said.splitlines())
