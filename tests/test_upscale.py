"""The command: real command lines, on small images."""

import io
import itertools
import json
import os
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from sr_lightning.image.color import read_rgb, to_uint8
from sr_lightning.image.source_image import read_source
from sr_lightning.inference import upscaler as upscaler_module
from sr_lightning.inference.predict import super_resolve
from sr_lightning.models import EDSR
from sr_lightning.upscale import main
from sr_lightning.upscaling import plan as plan_module
from sr_lightning.upscaling.image_job import Done
from sr_lightning.upscaling.size import Sizing
from sr_lightning.upscaling.sources import Task, find_sources, plan_outputs
from sr_lightning.upscaling.summary import image_line
from sr_lightning.weights.pretrained import DEFAULT_WEIGHTS

pytestmark = pytest.mark.usefixtures("_hydras_logging")


@pytest.fixture(autouse=True)
def _small_network(monkeypatch):
    """The smallest of the pretrained networks by default, so that the tests are fast."""
    monkeypatch.setattr("sr_lightning.config.upscale.DEFAULT_WEIGHTS", "edsr_tiny_y")


@pytest.fixture
def photo(tmp_path, image):
    Image.fromarray(image(24, 30, 0)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def network_result(path, scale):
    from sr_lightning.builders.load_network import load_network

    lr = torch.tensor(read_rgb(path)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        return to_uint8(super_resolve(load_network(f"edsr_tiny_y_x{scale}").net, lr, scale))[0].permute(1, 2, 0).numpy()


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
    assert "dB (the result, shrunk again, against the input)\n" in out
    assert max(len(line) for line in out.splitlines() if not line.startswith("/")) <= 80


def test_lines_of_large_images_with_long_names_fit_a_terminal(tmp_path):
    task = Task(tmp_path / ("a" * 90 + ".png"), tmp_path / "out.png", "png")
    assert len(image_line(Done(task, (3000, 4000), (12000, 16000), 1234.5, 103.25))) <= 80


@pytest.mark.parametrize("scale", [2, 3])
def test_scale_chooses_the_pretrained_weights(photo, scale):
    assert main(["input=photo.png", f"scale={scale}", "output=big.tif"]) == 0
    assert np.abs(pixels("big.tif").astype(int) - network_result(photo, scale)).max() <= 1


def test_folders_keep_their_structure_and_what_made_the_outputs(folder, capsys):
    (folder / "sub").mkdir()
    (folder / "img_0.png").rename(folder / "sub" / "deep.PNG")
    (folder / "note.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes((folder / "img_1.png").read_bytes())
    assert main(["input=pictures", "output=out", "scale=2", "format=jpeg"]) == 0
    out = folder.parent / "out"
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*.*"))
    assert found == [*(f"img_{i}_x2.jpg" for i in range(1, 6)), "sub/deep_x2.jpg"]
    with Image.open("out/img_1_x2.jpg") as image:
        record = json.loads(image.getexif()[0x9213])
    assert (record["program"], record["weights"], record["scale"]) == ("sr_lightning 0.1.0", "edsr_tiny_y_x2", 2)
    assert len(record["weights_sha256"]) == 64
    assert "6 images" in capsys.readouterr().out


def test_other_tiles_are_other_work_if_their_overlap_was_chosen(photo, capsys):
    """Without a choice, tiles of any size give the same image."""
    assert main(["input=photo.png", "overlap=0", "tile=16", "output=a.png"]) == 0
    assert main(["input=photo.png", "overlap=0", "tile=null", "output=a.png"]) == 0
    assert "done before" not in capsys.readouterr().out
    assert main(["input=photo.png", "output=b.png"]) == 0
    assert main(["input=photo.png", "tile=16", "output=b.png"]) == 0
    assert "1 image done before by the same work" in capsys.readouterr().out


def test_a_rerun_does_only_what_is_missing(folder, capsys):
    command = ["input=pictures/img_[0-3]*", "output=out", "scale=2"]
    assert main(command) == 0
    times = {path.name: path.stat().st_mtime_ns for path in (folder.parent / "out").iterdir()}
    assert len(times) == 4
    os.remove("out/img_2_x2.png")
    capsys.readouterr()
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "img_2.png" in out
    assert "3 images done before" in out
    after = {path.name: path.stat().st_mtime_ns for path in (folder.parent / "out").iterdir()}
    assert {name for name in times if times[name] != after[name]} == {"img_2_x2.png"}
    # Other work, and an input that changed, are made anew.
    assert main([*command, "back_projection=1"]) == 0
    assert "done before" not in capsys.readouterr().out
    (folder / "img_0.png").write_bytes((folder / "img_4.png").read_bytes())
    assert main([*command, "back_projection=1"]) == 0
    assert "3 images done before" in capsys.readouterr().out


def test_outputs_among_the_inputs_are_no_inputs(folder, capsys):
    assert main(["input=pictures", "scale=2"]) == 0
    assert main(["input=pictures", "scale=3"]) == 0
    assert len(list(folder.iterdir())) == 18
    assert "6 images left out: outputs of earlier runs" in capsys.readouterr().out


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


def test_files_that_upscale_has_not_made_are_not_overwritten(photo, capsys):
    other = photo.with_name("photo_x4.png")
    other.write_bytes(photo.read_bytes())
    assert main(["input=photo.png"]) == 2
    assert "photo_x4.png is there, and was not made by upscale" in capsys.readouterr().err
    assert other.read_bytes() == photo.read_bytes()
    assert main(["input=photo.png", "overwrite=true"]) == 0
    assert pixels(other).shape == (96, 120, 3)


def test_the_output_of_another_image_is_not_replaced(photo, capsys):
    other = photo.parent / "other" / photo.name
    other.parent.mkdir()
    Image.open(photo).rotate(180).save(other)
    assert main(["input=photo.png", "output=out/"]) == 0
    (made,) = (photo.parent / "out").iterdir()
    before = made.read_bytes()
    assert main(["input=other/photo.png", "output=out/"]) == 2
    assert "was made from another image" in capsys.readouterr().err
    assert made.read_bytes() == before
    assert main(["input=other/photo.png", "output=out/", "overwrite=true"]) == 0
    assert made.read_bytes() != before


@pytest.mark.parametrize("output", ["photo.png", "./x/../photo.png", "link.png"])
@pytest.mark.fault("I4", "refused, the input is as it was")
def test_an_input_is_never_overwritten(photo, capsys, output):
    (photo.parent / "x").mkdir()
    os.symlink("photo.png", "link.png")
    assert main(["input=photo.png", f"output={output}", "overwrite=true"]) == 2
    assert "is an input, which is never overwritten" in capsys.readouterr().err
    assert pixels(photo).shape == (24, 30, 3)


def test_inputs_of_one_name_get_outputs_of_two(photo):
    Image.open(photo).save("photo.jpg")
    sources, _ = find_sources(["."])
    assert [task.output.name for task in plan_outputs(sources, "out", size_name="x4", format=None)] == [
        "photo.jpg_x4.png",
        "photo.png_x4.png",
    ]
    (photo.parent / "b").mkdir()
    Image.open(photo).save("b/photo.png")
    assert main(["input=[photo.png,b/photo.png]", "output=out"]) == 2  # files named alone have no structure to keep


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["input=nothing.png"], "input: nothing.png is not there"),
        (["input=empty"], "input: empty holds no image"),
        (["input=photo.png", "scale=5"], "scale: found 5, allowed: one of 2, 3, 4, 8"),
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
        (["input=photo.png", "tile=1"], "tile: found 1"),
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


def test_a_wrong_input_is_answered_without_torch(photo):
    code = (
        "import sys; from sr_lightning.upscale import main\n"
        "for typed in (['input=none.png'], ['input=photo.png', 'output=/proc/x'], ['input=photo.png', 'width=900'],\n"
        "              ['input=photo.png', 'output=a.bmp'], ['input=photo.png', 'format=webp', 'width=20000']):\n"
        "    assert main(typed) == 2, typed\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_folders_with_a_dot_in_their_names(photo):
    for output in ("a.bmp/", "a.bmp", "v1.2"):  # the second time it is there
        assert main(["input=photo.png", f"output={output}"]) == 0
        assert os.listdir(output) == ["photo_x4.png"]


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


def test_a_folder_that_cannot_be_written_fails_its_own_images_only(folder, monkeypatch, capsys):
    (folder / "locked").mkdir()
    (folder / "img_0.png").rename(folder / "locked" / "img_0.png")
    temporary = plan_module.tempfile.TemporaryFile

    def refused(*, dir):
        if dir.name == "locked":
            raise PermissionError(13, "Permission denied")
        return temporary(dir=dir)

    monkeypatch.setattr(plan_module.tempfile, "TemporaryFile", refused)
    assert main(["input=pictures", "scale=2"]) == 1
    out = capsys.readouterr().out
    assert "failed: pictures/locked/img_0.png: output: cannot write into pictures/locked: Permission denied" in out
    assert "5 images in" in out


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


def test_sigterm_leaves_nothing_half_written(photo, monkeypatch):
    rows = upscaler_module.Upscaler.rows

    def interrupted(self, *args):
        yield from rows(self, *args)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(upscaler_module.Upscaler, "rows", interrupted)
    assert main(["input=photo.png"]) == 143
    assert os.listdir() == ["photo.png"]


def of_every_kind(folder, image):
    """An image of each mode, with what its name says: grey or colour, alpha, bits."""
    from sr_lightning.image.encoder import Layout, write_image

    folder.mkdir()
    picture = Image.fromarray(image(20, 24, 0))
    opacity = Image.fromarray(np.repeat(np.array([0] * 8 + [100] * 4 + [255] * 12, np.uint8)[None], 20, 0))
    for mode in ("1", "L", "P", "RGB", "CMYK"):
        picture.convert(mode).save(folder / f"{mode}.tif")
    for mode in ("LA", "RGBA"):
        faded = picture.convert(mode)
        faded.putalpha(opacity)
        faded.save(folder / f"{mode}.png")
    clear = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    clear.save(folder / "P clear.png", transparency=3)
    grey = np.dstack([np.asarray(picture.convert("L")), np.asarray(opacity)]).astype(np.uint16) * 257
    write_image(folder / "LA 16 TIFF.tif", [grey], Layout(20, 24, 2, 16), format="tiff")
    for channels, name in ((1, "L 16"), (2, "LA 16"), (3, "RGB 16"), (4, "RGBA 16")):
        levels = np.asarray(Image.open(folder / f"{('L.tif', 'LA.png', 'RGB.tif', 'RGBA.png')[channels - 1]}"))
        wide = levels.reshape(20, 24, channels).astype(np.uint16) * 257
        write_image(folder / f"{name}.png", [wide], Layout(20, 24, channels, 16), format="png")
    return folder


@pytest.mark.parametrize("name", ["png", "tiff", "jpeg", "webp", "avif"])
@pytest.mark.fault("I6", "the same mode, or said")
@pytest.mark.fault("I7", "16 bits, or said")
def test_every_kind_of_image_in_every_format(tmp_path, image, capsys, name):
    """What comes out has the colour, alpha and depth of what went in, or the run says what is lost, once.

    A rerun knows all of them.
    """
    of_every_kind(tmp_path / "in", image)
    command = ["input=in", "output=out", "scale=2", f"format={name}"]
    assert main(command) == 0
    said = " ".join(capsys.readouterr().out.split())
    reference = np.asarray(Image.fromarray(image(20, 24, 0)).resize((48, 40), Image.Resampling.BICUBIC)).astype(float)
    outputs = sorted((tmp_path / "out").iterdir())
    assert len(outputs) == 13
    for path in outputs:
        kind = path.stem.removesuffix("_x2")
        is_grey, has_alpha, is_wide = kind[0] in "L1", "A" in kind or "clear" in kind, "16" in kind
        source = read_source(path)
        assert source.levels.shape[:2] == (40, 48)
        holds_alpha, holds_grey, holds_16 = name != "jpeg", name in ("png", "tiff", "jpeg"), name in ("png", "tiff")
        assert source.levels.shape[2] == (1 if is_grey and holds_grey else 3) + (has_alpha and holds_alpha), path
        assert source.levels.dtype == (np.uint16 if is_wide and holds_16 else np.uint8), path
        if kind in ("1", "P clear"):
            continue  # dithered, and of few colours
        levels = source.levels / (257 if source.levels.dtype == np.uint16 else 1)
        colour = levels[..., :3] if levels.shape[2] >= 3 else levels[..., :1].repeat(3, 2)
        expected = reference if not is_grey else (reference @ (0.299, 0.587, 0.114))[..., None].repeat(3, 2)
        opaque = slice(30, 48) if has_alpha else slice(0, 48)
        assert np.abs(colour - expected)[:, opaque].mean() < (20 if kind == "P" else 10), path  # dithered
        if has_alpha and holds_alpha:
            assert (levels[:, :13, -1] == 0).all()
            assert (levels[:, 28:, -1] == 255).all()
    for text, is_said in (
        ("16 bits a channel become 8", not holds_16),
        ("transparent parts are put on white", not holds_alpha),
        ("greyscale is written as RGB", not holds_grey),
        ("palettes become RGB", True),
        ("CMYK without a profile becomes RGB by its formula", True),
    ):
        assert said.count(text) == is_said
    assert main(command) == 0
    assert "13 images done before" in capsys.readouterr().out


def cmyk_profile():
    """A colour profile of a printer that never was: cyan and yellow ink are swapped, and black ink is pale.

    ICC.1:2001-04, version 2: header, tag table, and a table of type `mft1` from CMYK to Lab with two points an axis.
    """
    table = bytearray()
    for c, m, y, k in itertools.product((0, 1), repeat=4):
        red, green, blue = (1 - y) * (1 - k / 4), (1 - m) * (1 - k / 4), (1 - c) * (1 - k / 4)
        pixel = Image.new("RGB", (1, 1), tuple(round(255 * value) for value in (red, green, blue)))
        lab = ImageCms.profileToProfile(
            pixel, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
        table += bytes(lab.getpixel((0, 0)))
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * int(i % 4 == 0) for i in range(9)))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + ramp * 4 + bytes(table) + ramp * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)  # D50
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": text, b"wtpt": white, b"A2B0": lut, b"cprt": b"text" + bytes(4) + b"none\0"}
    body, entries, place = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        entries += name + struct.pack(">II", place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = place + len(body)
    header = struct.pack(">I4xI4s4s4s12x4s", size, 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp")
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + body


def test_inks_have_the_colours_that_their_profile_gives_them(tmp_path):
    for inks, colour in (
        ((255, 0, 0, 0), (255, 255, 0)),
        ((0, 0, 255, 0), (0, 255, 255)),
        ((0, 0, 0, 255), (191,) * 3),
    ):
        Image.new("CMYK", (8, 8), inks).save(tmp_path / "ink.tif", icc_profile=cmyk_profile())
        assert np.abs(read_source(tmp_path / "ink.tif").levels - np.array(colour)).max() <= 10  # Lab has 8 bits


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_goes_through_its_profile(tmp_path, image, capsys, suffix):
    inks = Image.merge("CMYK", [Image.fromarray(image(24, 24, i)).convert("L") for i in range(4)])
    inks.save(f"inks.{suffix}", icc_profile=cmyk_profile(), **({"quality": 100} if suffix == "jpg" else {}))
    assert main([f"input=inks.{suffix}", "output=out.png", "scale=2"]) == 0
    assert "CMYK becomes sRGB through the embedded profile (1 image)" in capsys.readouterr().out
    with Image.open(f"inks.{suffix}") as file:
        levels = file.convert("CMYK")
    profiles = ImageCms.ImageCmsProfile(io.BytesIO(cmyk_profile())), ImageCms.createProfile("sRGB")
    through = ImageCms.applyTransform(levels, ImageCms.buildTransform(*profiles, "CMYK", "RGB"))
    by_formula = levels.convert("RGB")
    source = read_source(f"inks.{suffix}")
    np.testing.assert_array_equal(source.levels, np.asarray(through))
    assert np.abs(np.asarray(through).astype(int) - np.asarray(by_formula)).mean() > 20  # they can be told apart
    shrunken = np.asarray(Image.open("out.png").resize((24, 24), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(shrunken - np.asarray(through)).mean() < 10
    with Image.open("out.png") as out:
        assert "icc_profile" not in out.info  # which would be of the inks


@pytest.mark.fault("I11", "upright, sizes mended, profile kept")
def test_metadata_is_kept_mended_or_dropped(tmp_path, image):
    exif = Image.Exif()
    exif[0x0112], exif[271] = 6, "Maker"
    exif[0x8769] = {40962: 24, 40963: 20, 33434: 0.01}
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(image(20, 24, 0)).save("a.jpg", exif=exif, icc_profile=icc, quality=95)
    assert main(["input=a.jpg", "scale=2", "output=kept.webp"]) == 0
    with Image.open("kept.webp") as kept:
        assert kept.size == (40, 48)  # upright
        assert kept.info["icc_profile"] == icc
        tags = kept.getexif()
        assert 0x0112 not in tags
        assert (tags[271], tags[305]) == ("Maker", "sr_lightning 0.1.0")
        details = tags.get_ifd(0x8769)
        assert (details[40962], details[40963], float(details[33434])) == (40, 48, 0.01)
    assert main(["input=a.jpg", "scale=2", "output=dropped.webp", "metadata=drop"]) == 0
    with Image.open("dropped.webp") as dropped:
        assert "icc_profile" not in dropped.info
        assert sorted(dropped.getexif()) == [305, 0x9213]


@pytest.mark.fault("I5", "nothing half-written under a final name")
def test_a_killed_run_is_finished_by_a_rerun(folder, tmp_path):
    """A process that dies while it writes leaves whole outputs, and a part file that the next run replaces."""
    code = (
        "import os, signal; from sr_lightning.inference.upscaler import Upscaler; rows = Upscaler.rows; seen = []\n"
        "def killed(self, *args):\n"
        "    seen.append(0)\n"
        "    for block in rows(self, *args):\n"
        "        yield block\n"
        "        if len(seen) == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Upscaler.rows = killed\n"
        "from sr_lightning.upscale import main; main(['input=pictures', 'output=out', 'scale=2'])"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == -signal.SIGKILL
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert {name for name in left if name.endswith(".png")} == {"img_0_x2.png", "img_1_x2.png"}
    times = [(tmp_path / "out" / f"img_{i}_x2.png").stat().st_mtime_ns for i in range(2)]
    assert main(["input=pictures", "output=out", "scale=2", f"checkpoint={DEFAULT_WEIGHTS}_x2"]) == 0
    assert sorted(os.listdir("out")) == [f"img_{i}_x2.png" for i in range(6)]
    assert times == [(tmp_path / "out" / f"img_{i}_x2.png").stat().st_mtime_ns for i in range(2)]


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
