"""The command, in this process: what a user types, what is written, what it answers."""

import hashlib
import itertools
import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from helpers.training_runs import metrics, only_run
from sr_lightning.evaluate import main as evaluate
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def test_a_run_leaves_what_the_contract_names(tiny, capsys):
    assert main(tiny) == 0
    run = only_run()
    for name in (".hydra/config.yaml", "train.log", "metrics.csv", "results.json", "per_image.csv"):
        assert (run / name).is_file(), name
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    out = capsys.readouterr().out
    assert out.index("run folder: runs") < out.index("loading torch") < out.index("bicubic")
    assert f"run folder  {run}" in out
    names = set(itertools.chain.from_iterable(metrics(run)))
    for name in ("train/loss", "train/loss/pixel", "val/heldout/x4/psnr_y", "val/heldout/x4/ssim_y", "val/psnr_y"):
        assert name in names
    assert {"val/gain", "time/data_wait", "lr", "test/heldout/x4/psnr_y"} <= names
    document = json.loads((run / "results.json").read_text())
    assert [(r["set"], r["scale"], r["method"], r["images"]) for r in document["rows"]] == [
        ("heldout", 4, "bicubic", 2),
        ("heldout", 4, "EDSR", 2),
    ]
    assert {p.name for p in (run / "samples").iterdir()} >= {"test_heldout_x4_img_1.png", "test_heldout_x4_img_4.png"}
    best = max(float(row["val/gain"]) for row in metrics(run) if row["val/gain"])
    assert document["objective"] == pytest.approx(best, abs=1e-5)
    # No test set is named: what chose the checkpoint is not called a test.
    assert "test: none (the validation images are scored at the end)" in (run / "train.log").read_text()
    assert "Validation images, which chose the checkpoint (no data.test)" in out
    assert document["split"] == "validation"
    checksum = hashlib.sha256((run / "checkpoints" / "best.ckpt").read_bytes()).hexdigest()
    assert [row.get("checkpoint_sha256") for row in document["rows"]] == [None, checksum]


def test_bicubics_row_is_an_independent_bicubic(tiny, folder):
    """With nothing learned yet the network with a bicubic skip is bicubic, and both rows agree."""
    assert main([*tiny, "trainer.max_steps=1", "trainer.val_check_interval=1", "optimizer.lr=1e-12"]) == 0
    bicubic, net = json.loads((only_run() / "results.json").read_text())["rows"]
    assert net["psnr_y"] == pytest.approx(bicubic["psnr_y"], abs=0.02)  # LR is rounded either way; SR once


def test_a_profile_is_made_for_who_asks(tiny):
    wanted = "{_target_: lightning.pytorch.profilers.SimpleProfiler, dirpath: ., filename: times}"
    assert main([*tiny, "trainer.max_steps=2", f"+trainer.profiler={wanted}"]) == 0
    assert "run_training_batch" in Path("fit-times.txt").read_text()


def test_a_sweep_runs_every_job_and_one_failure_does_not_end_it(tiny, capsys):
    from sr_lightning.callbacks import Checkpoints

    real = Checkpoints.on_validation_end

    def fails_at_x3(self, trainer, module):
        if trainer.datamodule.scales == [3]:
            raise RuntimeError("broken on purpose")
        real(self, trainer, module)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "on_validation_end", fails_at_x3)
        assert main(["-m", *tiny, "scale=2,3,4"]) == 1
    sweep = only_run("sweep")
    assert [(sweep / str(i) / "results.json").exists() for i in range(3)] == [True, False, True]
    out = capsys.readouterr().out
    assert "failed: broken on purpose" in out
    written = (sweep / "0" / "results.json").stat().st_mtime_ns
    assert main(["-m", *tiny, "scale=2,3,4", f"hydra.sweep.dir={sweep}"]) == 0
    assert (sweep / "1" / "results.json").exists()
    assert (sweep / "0" / "results.json").stat().st_mtime_ns == written
    assert capsys.readouterr().out.count("done before") == 2
    assert main(["-m", *tiny, "scale=4,3,2", f"hydra.sweep.dir={sweep}"]) == 2
    assert "was run with another config" in capsys.readouterr().err


def test_a_multi_scale_run_validates_every_scale(tiny):
    settings = [a for a in tiny if not a.startswith("model.")]
    small = ["model=mdsr_baseline", "model.n_feats=4", "model.n_resblocks=1", "scale=[2,3,4]"]
    assert main([*settings, *small]) == 0
    document = json.loads((only_run() / "results.json").read_text())
    assert [r["scale"] for r in document["rows"]] == [2, 2, 3, 3, 4, 4]
    last = [row for row in metrics(only_run()) if row["val/psnr_y"]][-1]
    means = [float(last[f"val/heldout/x{s}/psnr_y"]) for s in (2, 3, 4)]
    assert float(last["val/psnr_y"]) == pytest.approx(sum(means) / 3, abs=1e-4)


def test_a_shipped_sweep_runs(tiny):
    """That the others compose: tests/cli/test_sweep.py."""
    short = ["trainer.max_steps=1", "trainer.val_check_interval=1", "loss.perceptual.layers={stride2: 1}"]
    assert main([*tiny, "sweep=loss_weights", "loss.beta=0,0.01", *short]) == 0
    assert len(list(only_run("sweep").glob("*/results.json"))) == 2


def test_the_images_of_the_paired_preset(folder, tiny):
    lr = folder.parent / "X4"
    lr.mkdir()
    for path in folder.iterdir():
        image = Image.open(path)
        image.resize((image.width // 4, image.height // 4), Image.Resampling.BOX).save(lr / f"{path.stem}x4.png")
    settings = [a for a in tiny if a != "data=folder"]
    assert main(["data=paired", f"data.train_lr_dir={lr.parent}/X{{scale}}", *settings]) == 0
    assert json.loads((only_run() / "results.json").read_text())["rows"][0]["images"] == 2


def test_no_network_is_asked_for_in_a_default_run(tiny, monkeypatch):
    """W&B offline, EfficientNet's weights and the sample images: nothing is looked up or connected to."""
    import socket

    def refused(*_, **__):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket, "create_connection", refused)
    settings = [a for a in tiny if not a.startswith(("logger", "data"))]
    assert main([*settings, "loss.beta=0.01", "data.patch_size=16", "trainer.max_steps=2"]) == 0


def test_the_suggested_evaluation_sees_the_images_of_the_test(folder, tiny, capsys):
    """Ready-made LR and the choice of files were left out of it, so that it measured something else."""
    lr = folder.parent / "LR of mine"
    lr.mkdir()
    for name in ("img_0.png", "img_1.png"):
        image = Image.open(folder / name)
        image.resize((image.width // 4, image.height // 4), Image.Resampling.BOX).save(lr / name)
    settings = [*tiny, f"+data.test.Mine={{hr: {folder}, lr: {lr}, files: [img_0.png, img_1.png]}}"]
    assert main([*settings, "trainer.max_steps=1", "trainer.val_check_interval=1"]) == 0
    out = capsys.readouterr().out
    (command,) = re.findall(r"sr_lightning\.evaluate (.*(?:\\\n.*)*)", out)
    assert evaluate([*shlex.split(command.replace("\\\n", "")), "cost=false", "logger=csv"]) == 0
    rows = [json.loads((only_run(kind) / "results.json").read_text())["rows"] for kind in ("train", "evaluate")]
    assert [(r["set"], r["images"], r["psnr_y"]) for r in rows[0]] == [
        (r["set"], r["images"], r["psnr_y"]) for r in rows[1]
    ]


def test_a_run_without_test_sets_ends_well(tiny, capsys):
    """The line that suggests an evaluation ended it in a traceback, after all was done."""
    assert main([*tiny, "data.test=null", "trainer.max_steps=1", "trainer.val_check_interval=1"]) == 0
    assert "sr_lightning.evaluate" in capsys.readouterr().out
