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


def test_a_killed_process_says_143_and_continues_where_it_was(tmp_path, folder, capsys):
    odd = folder.rename(tmp_path / "my photos, 100% [raw]=ü")
    command = [sys.executable, "-m", "sr_lightning.train", "data=folder", f"data.train_dir={odd}", "logger=csv"]
    command += ["data.val_holdout=1", "data.patch_size=12", "data.batch_size=2", "model.n_feats=4", "trainer=cpu"]
    command += ["model.n_resblocks=1", "trainer.max_steps=100000", "trainer.val_check_interval=5"]
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
    assert "stopping after this step; saving a checkpoint" in output
    assert main(["ckpt_path=last", "trainer.max_steps=1"]) == 0
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
