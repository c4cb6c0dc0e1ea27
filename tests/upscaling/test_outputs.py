"""Where outputs lie, which are done before, and what is never overwritten or left half-written."""

import json
import os
import signal
import subprocess
import sys

import pytest
from PIL import Image

from helpers.upscaled import pixels
from sr_lightning.inference import upscaler as upscaler_module
from sr_lightning.upscale import main
from sr_lightning.upscaling import plan as plan_module
from sr_lightning.upscaling.sources import find_sources, plan_outputs
from sr_lightning.weights.pretrained import DEFAULT_WEIGHTS

pytestmark = pytest.mark.usefixtures("_hydras_logging")


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


def test_folders_with_a_dot_in_their_names(photo):
    for output in ("a.bmp/", "a.bmp", "v1.2"):  # the second time it is there
        assert main(["input=photo.png", f"output={output}"]) == 0
        assert os.listdir(output) == ["photo_x4.png"]


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


def test_sigterm_leaves_nothing_half_written(photo, monkeypatch):
    rows = upscaler_module.Upscaler.rows

    def interrupted(self, *args):
        yield from rows(self, *args)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(upscaler_module.Upscaler, "rows", interrupted)
    assert main(["input=photo.png"]) == 143
    assert os.listdir() == ["photo.png"]


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
