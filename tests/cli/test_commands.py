"""The command line as a user types it, in a process of its own where it is about that, and its exit status."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def test_a_killed_console_script_says_143_and_continues_where_it_was(tmp_path, folder, monkeypatch, capsys):
    """It finds the code beside the user, as `python -m` does; an installed script has its own folder on the path."""
    (tmp_path / "own_net.py").write_text("import sr_lightning.models\nclass Net(sr_lightning.models.FSRCNN): ...\n")
    script = tmp_path / "bin" / "sr-train"
    script.parent.mkdir()
    script.write_text("import sys; from sr_lightning.train import main; sys.exit(main())\n")
    odd = folder.rename(tmp_path / "my photos, 100% [raw]=ü")
    command = [sys.executable, script, "data=folder", f"data.train_dir={odd}", "data.val_holdout=1"]
    command += ["data.patch_size=12", "data.batch_size=2", "model={_target_: own_net.Net, scale: 4, d: 8}"]
    command += ["logger=csv", "trainer=cpu", "trainer.max_steps=100000", "trainer.val_check_interval=5"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/train/*/checkpoints/last.ckpt")) and time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert "Traceback" not in output
    assert "continue with" in output
    (run,) = (tmp_path / "runs/train").iterdir()
    before = (run / "metrics.csv").read_text().count("\n")
    assert "Net, " in output
    assert "stopping after this step; saving a checkpoint" in output
    monkeypatch.syspath_prepend(tmp_path)
    # The class of a saved config that is not ours is typed again.
    assert main(["ckpt_path=last", "model._target_=own_net.Net", "trainer.max_steps=1"]) == 0
    assert ", past trainer.max_steps=1: only the final test is left\n" in capsys.readouterr().out
    assert (run / "results.json").is_file()
    assert (run / "metrics.csv").read_text().count("\n") >= before
    assert len(list((tmp_path / "runs/train").iterdir())) == 1


def test_a_damaged_image_is_named_without_a_traceback(folder, capsys):
    data = (folder / "img_3.png").read_bytes()
    (folder / "img_3.png").write_bytes(data[:900])
    assert main(["data=folder", f"data.train_dir={folder}", "scale=2"]) == 2
    said = capsys.readouterr().err
    assert "img_3.png: cannot be decoded" in said
    assert "Traceback" not in said
    assert np.asarray(Image.open(folder / "img_2.png")).shape == (120, 96, 3)
